-- Allowances: opening, closing and counting. Twin of `renew`, `_close` and `drop_spent` in rater/charging/books.py and
-- of Cadence in rater/money.py. Needs `account` (the unpacked array) to be set before use.

local account
local lines = {}
local GRANT_KEPT_MS = 40 * 86400000

local function note(cause, resource, cycle, before, after)
  local k = #lines
  lines[k + 1], lines[k + 2], lines[k + 3], lines[k + 4], lines[k + 5] = cause, resource, cycle, before, after
end

-- A(n) of a cadence.
local function counted(n, free, first, following)
  if n <= free or n <= 0 then return 0 end
  if n <= first then return first end
  local begun = fmod(n - first, following)
  return begun > 0 and n + following - begun or n
end

-- The longest n, from <= n <= to, with A(n) - A(from) <= budget. The free seconds alone count as nothing.
local function reach(from, to, budget, free, first, following)
  if to <= free then to = free + 1 end
  if to > q_horizon then to = q_horizon end
  local total = counted(from, free, first, following) + budget
  local n = free
  if total >= first then
    n = total - fmod(total - first, following)
    if n < free then n = free end
  end
  if n > to then n = to end
  return (n > from and n > free) and n or from
end

local function open_grant(id)
  for i = GRANTS, #account, GRANT do
    if account[i] == id and account[i + 6] == 0 then return i end
  end
end

local function close(i)
  local left = account[i + 3] - account[i + 4] - account[i + 5]
  local before = account[i + 3] - account[i + 4]
  account[i + 6] = 1
  account[i + 3] = account[i + 3] - left
  if left > 0 then note('expire', account[i], account[i + 1], before, before - left) end
end

-- Forgets closed cycles that nobody holds, except the newest of each allowance for a while.
local function drop_spent(now)
  local newest, kept = {}, {}
  for i = GRANTS, #account, GRANT do newest[account[i]] = i end
  for i = 1, GRANTS - 1 do kept[i] = account[i] end
  for i = GRANTS, #account, GRANT do
    if account[i + 6] == 0 or account[i + 5] > 0
      or (newest[account[i]] == i and account[i + 2] + GRANT_KEPT_MS > now) then
      for field = i, i + GRANT - 1 do kept[#kept + 1] = account[field] end
    end
  end
  account = kept
end

-- Closes the cycles that are over and opens those that have begun. terms, 7 values for each allowance in the order of
-- use: grant, seconds, free_s, first_s, next_s, valid_from_ms, valid_until_ms.
local function renew(terms, now)
  local closed = false
  for i = GRANTS, #account, GRANT do
    if account[i + 6] == 0 and account[i + 2] <= now then close(i) end
    closed = closed or account[i + 6] == 1
  end
  for t = 1, #terms, 7 do
    local id, newest, open = terms[t], -1, nil
    for i = GRANTS, #account, GRANT do
      if account[i] == id then
        if account[i + 1] > newest then newest = account[i + 1] end
        if account[i + 6] == 0 then open = i end
      end
    end
    if terms[t + 5] > newest and terms[t + 6] > now then
      if open then
        close(open)
        closed = true
      end
      local k = #account
      account[k + 1], account[k + 2], account[k + 3] = id, terms[t + 5], terms[t + 6]
      account[k + 4], account[k + 5], account[k + 6], account[k + 7] = terms[t + 1], 0, 0, 0
      note('renew', id, terms[t + 5], 0, terms[t + 1])
    end
  end
  if closed then drop_spent(now) end
end
