-- Grants: opening, renewing, rolling over, closing and counting. Twin of rater/charging/grants.py and of Cadence in
-- rater/money.py. Needs `prelude` and `quote`.
--
-- terms, TERM values for each allowance: grant, seconds, free_s, first_s, next_s, valid_from_ms, valid_until_ms, tier,
-- priority, end of the next cycle or 0, rollover or "", kind, hours (bands as `,night,`, or ""). rollover, packed: most, least, and for each cycle before,
-- the oldest first: its start, its seconds, its end, the end of what rolls over of it.

local lines, owner_lines
local GRANT_KEPT_MS = 40 * 86400000
local ROLLOVER_KEPT_MS = 400 * 86400000

local function begin_grants() lines, owner_lines = {}, {} end

-- The terms of allowances, and with them where each one's begin, by its grant.
local function terms_of(text)
  local terms = known(text)
  if not terms.index then
    local index = {}
    for t = 1, #terms, TERM do index[terms[t]] = t end
    terms.index = index
  end
  return terms
end

local function note(to, cause, resource, cycle, before, after)
  local k = #to
  to[k + 1], to[k + 2], to[k + 3], to[k + 4], to[k + 5] = cause, resource, cycle, before, after
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

local function grant_at(a, id, from)
  for i = GRANTS, #a, GRANT do
    if a[i] == id and a[i + 1] == from then return i end
  end
end

-- The open cycle of an allowance that is valid at a moment.
local function cycle_at(a, id, at)
  for i = GRANTS, #a, GRANT do
    if a[i] == id and a[i + 6] == 0 and a[i + 1] <= at and at < a[i + 2] then return i end
  end
end

local function open(a, to, cause, id, from, till, amount, kind, spec)
  local k = #a
  a[k + 1], a[k + 2], a[k + 3], a[k + 4], a[k + 5] = id, from, till, amount, 0
  a[k + 6], a[k + 7], a[k + 8], a[k + 9] = 0, 0, kind, spec
  note(to, cause, id, from, 0, amount)
end

local function open_cycle(a, to, terms, t, from, till)
  open(a, to, 'renew', terms[t], from, till, terms[t + 1], terms[t + 11], terms[t + 10] == '' and '' or 'r')
end

-- Opens the cycles after the terms' own that a slice reaches into at `at`.
local function open_next(a, to, terms, at)
  for t = 1, #terms, TERM do
    local till = terms[t + 6]
    if till <= at and at < terms[t + 9] and not grant_at(a, terms[t], till) then
      open_cycle(a, to, terms, t, till, terms[t + 9])
    end
  end
end

local function close(a, i, to)
  local left = a[i + 3] - a[i + 4] - a[i + 5]
  local before = a[i + 3] - a[i + 4]
  a[i + 6] = 1
  a[i + 3] = a[i + 3] - left
  if left > 0 then note(to, 'expire', a[i], a[i + 1], before, before - left) end
end

-- What comes back of a cycle that was rolled over goes on like what was left of it, within the same bounds.
local function roll_back(a, i, to, back)
  local most, least, left, from, till = unpack_all(a[i + 8])
  local before, after, id = left, left + back, a[i] .. '~'
  a[i + 8] = pack(most, least, after, from, till)
  if before < least then before = least end
  if before > most then before = most end
  if after < least then after = least end
  if after > most then after = most end
  if after == before then return end
  if before == 0 then return open(a, to, 'rollover', id, from, till, after, 3, '') end
  local k = grant_at(a, id, from)
  if not k or a[k + 6] == 1 then return end
  local held = a[k + 3] - a[k + 4]
  a[k + 3] = a[k + 3] + after - before
  note(to, 'rollover', id, from, held, held + after - before)
end

-- Takes `taken` of the `paid` amount that is reserved and gives the rest back; to a closed grant it is void, but for what
-- rolls over of it.
local function use(a, i, to, paid, taken)
  local balance = a[i + 3] - a[i + 4]
  a[i + 5] = a[i + 5] - paid
  a[i + 4] = a[i + 4] + taken
  if taken > 0 then note(to, 'call', a[i], a[i + 1], balance, balance - taken) end
  local left = a[i + 3] - a[i + 4] - a[i + 5]
  if a[i + 6] == 1 and left > 0 then
    note(to, 'expire', a[i], a[i + 1], balance - taken, balance - taken - left)
    a[i + 3] = a[i + 3] - left
    if a[i + 7] == 0 and a[i + 8] ~= '' and a[i + 8] ~= 'r' then roll_back(a, i, to, left) end
  end
end

-- Forgets closed grants that nobody holds, except the newest cycle of each allowance for a while.
local function drop_spent(a, now)
  local n, i = #a, GRANTS
  while i < n and a[i + 6] == 0 do i = i + GRANT end
  if i > n then return end
  local newest, to = {}, GRANTS
  for i = GRANTS, n, GRANT do newest[a[i]] = i end
  for i = GRANTS, n, GRANT do
    local renews = a[i + 7] == 0 or a[i + 7] == 4
    if a[i + 6] == 0 or a[i + 5] > 0 or (renews and newest[a[i]] == i and a[i + 2] + GRANT_KEPT_MS > now) then
      if to < i then
        for field = 0, GRANT - 1 do a[to + field] = a[i + field] end
      end
      to = to + GRANT
    end
  end
  for i = n, to, -1 do a[i] = nil end
end

-- What is left of each cycle before becomes a grant of its own. A cycle that nobody met had all its seconds.
local function roll(a, to, id, rollover, newest, now)
  local r = known(rollover)
  for c = 3, #r, 4 do
    local i, left = grant_at(a, id, r[c]), nil
    if i and a[i + 6] == 0 then
      left = a[i + 3] - a[i + 4] - a[i + 5]
      close(a, i, to)
      if a[i + 5] > 0 and r[c + 3] > now then a[i + 8] = pack(r[1], r[2], left, r[c + 2], r[c + 3]) end
    elseif not i and newest >= 0 and r[c] > newest then
      left = r[c + 1]
    end
    if left then
      if left < r[2] then left = r[2] end
      if left > r[1] then left = r[1] end
      if left > 0 and r[c + 3] > now then open(a, to, 'rollover', id .. '~', r[c + 2], r[c + 3], left, 3, '') end
    end
  end
end

-- Closes the cycles that are over, rolls over what is left, opens those that have begun.
local function renew(a, to, terms, now)
  for t = 1, #terms, TERM do
    local id, from, till, newest = terms[t], terms[t + 5], terms[t + 6], -1
    if till > now then
      for i = GRANTS, #a, GRANT do
        if a[i] == id and a[i + 1] > newest then newest = a[i + 1] end
      end
      if terms[t + 10] ~= '' then roll(a, to, id, terms[t + 10], newest, now) end
      if from > newest then
        for i = GRANTS, #a, GRANT do
          if a[i] == id and a[i + 6] == 0 then close(a, i, to) end
        end
        open_cycle(a, to, terms, t, from, till)
      end
    end
  end
  for i = GRANTS, #a, GRANT do
    if a[i + 6] == 0 and a[i + 2] <= now and not (a[i + 8] == 'r' and a[i + 2] + ROLLOVER_KEPT_MS > now) then
      close(a, i, to)
    end
  end
  drop_spent(a, now)
end
