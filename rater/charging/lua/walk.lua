-- Pays a leg ahead: seconds, then money. Twin of the lower half of `Walk` in rater/charging/walk.py.
-- Near the end each leg takes half of its equal share of what is left at a time. `spend_left`: how much more money the
-- spend caps allow (limits.lua); `owner_left`: the same of the group owner's money and the owner's caps.

local pieces, granted, final, draws, start, short_s, spend_left, owner_left

local function begin_walk()
  begin_chain()
  pieces, granted, final, draws, start, short_s, spend_left, owner_left = {}, 0, 0, 1, 0, 0, math.huge, math.huge
end

local function add(s, from, to, amount)
  local k, i, quota, grant, cycle, free, following = #pieces, s.i, s.quota, '', 0, 0, 0
  if i then grant, cycle = s.a[i], s.a[i + 1] end
  if s.first > 0 then free, following = s.free, s.following end
  quota = quota and account[quota + 1] or -1
  if k > 0 and pieces[k - 9] == grant and pieces[k - 8] == cycle and pieces[k - 7] == free
    and pieces[k - 6] == s.first and pieces[k - 5] == following and pieces[k - 1] == s.shared
    and pieces[k] == quota then
    pieces[k - 3], pieces[k - 2] = to, pieces[k - 2] + amount
  else
    pieces[k + 1], pieces[k + 2], pieces[k + 3], pieces[k + 4], pieces[k + 5] = grant, cycle, free, s.first, following
    pieces[k + 6], pieces[k + 7], pieces[k + 8], pieces[k + 9], pieces[k + 10] = from, to, amount, s.shared, quota
  end
  granted = to
end

-- Whether the grant has one second more; a rest smaller than an increment has not.
local function goes_on(s)
  return reach(granted, granted + 1, left(s), s.free, s.first, s.following) > granted
end

-- The sources of money up to the first blocker: how many, what each can give when those before gave theirs, what they
-- have together, and an equal share of that.
local function measure()
  local lefts, total, budget, under, under_cap = {}, 0, 0, 0, 0
  for k = 1, #funds do
    local f = funds[k]
    if f.blocks == 1 then break end
    local n = left(f)
    if f.quota then
      local rest = account[f.quota + 3] - account[f.quota + 4] - account[f.quota + 5] - under
      if rest < n then n = rest end
    end
    if f.shared == 1 then
      if owner_left - under_cap < n then n = owner_left - under_cap end
      under_cap = under_cap + n
    end
    if f.quota then under = under + n end
    lefts[k] = n
    total = total + n
    budget = budget + (n - fmod(n, f.sharers)) / f.sharers
  end
  if total > MAX_AMOUNT then total = MAX_AMOUNT end
  if budget > MAX_AMOUNT then budget = MAX_AMOUNT end
  if spend_left <= total then
    total = spend_left
    local share = (spend_left - fmod(spend_left, ours.sharers)) / ours.sharers
    if share < budget then budget = share end
  end
  return lefts, total, budget
end

-- True when one of the grants could still go on, or blocks: then nothing after it is touched.
local function use_seconds(limit)
  for k = 1, #seconds do
    local s = seconds[k]
    if granted >= limit or s.blocks == 1 then return true end
    local budget = left(s)
    if k == #seconds then
      local _, total = measure()
      if total == 0 then
        -- Nothing can follow it: what is left is shared, like money.
        local share = (budget - fmod(budget, s.sharers)) / s.sharers
        local short = granted + short_s > s.free and granted + short_s or s.free + 1
        local least = counted(short, s.free, s.first, s.following) - counted(granted, s.free, s.first, s.following)
        if least > share then share = least end
        if share < budget then budget = share end
      end
    end
    local to = reach(granted, limit, budget, s.free, s.first, s.following)
    if to > granted then
      local amount = counted(to, s.free, s.first, s.following) - counted(granted, s.free, s.first, s.following)
      take(s, amount)
      add(s, granted, to, amount)
    end
    if goes_on(s) then return true end
  end
  return false
end

-- Each source pays what it has, in its turn: the pieces lie over the same seconds.
local function pay_from(lefts, to, amount)
  local from, k = granted, #pieces
  spend_left = spend_left - amount
  if amount == 0 then
    if k > 0 and pieces[k - 6] == 0 then
      pieces[k - 3], granted = to, to
    else
      add(funds[1], from, to, 0)
    end
    return
  end
  for f = 1, #lefts do
    local part = lefts[f] < amount and lefts[f] or amount
    if part > 0 then
      take(funds[f], part)
      if funds[f].shared == 1 then owner_left = owner_left - part end
      add(funds[f], from, to, part)
      amount = amount - part
    end
  end
end

-- One slice of money: up to the limit, or an equal share, but at least a short slice while it lasts.
local function pay(limit)
  local lefts, total, budget = measure()
  local paid = price(granted)
  if #lefts == 0 or paid == UNAFFORDABLE then return end
  if limit <= q_free then limit = q_free + 1 end
  if limit > q_horizon then limit = q_horizon end
  local to = limit
  if price(limit) - paid > budget then
    local short = granted + short_s > q_free and granted + short_s or q_free + 1
    local least = price(short < q_horizon and short or q_horizon) - paid
    if least > budget then budget = least < total and least or total end
    to = affordable(granted, limit, paid, budget)
  end
  if to > granted and to > q_free then pay_from(lefts, to, price(to) - paid) end
end

-- Whether one second more could be had now.
local function more()
  if granted >= q_horizon then return false end
  if draws == 0 then return true end
  for k = 1, #seconds do
    if seconds[k].blocks == 1 then return false end
    if goes_on(seconds[k]) then return true end
  end
  local lefts, total = measure()
  if #lefts == 0 then return false end
  local next_s = granted < q_free and q_free + 1 or granted + 1
  return next_s <= q_horizon and price(next_s) - price(granted) <= total
end

-- Whether a blocker stands among the sources.
local function has_blocker()
  for k = 1, #seconds do
    if seconds[k].blocks == 1 then return true end
  end
  for k = 1, #funds do
    if funds[k].blocks == 1 then return true end
  end
  return false
end

-- Pays up to `goal`, or as far as it reaches, and notes whether that was all. Where a grant begins or ends on the way,
-- the sources are looked for anew from there on.
local function walk(goal)
  if draws == 0 then
    if goal > granted then add({i = false, first = 0, shared = 0, quota = false}, granted, goal, 0) end
    final = granted >= q_horizon and 1 or 0
    return
  end
  look(start + granted * 1000)
  while true do
    local span = edge - start
    local begun = fmod(span, 1000)
    local limit = (span - begun) / 1000 + (begun > 0 and 1 or 0)
    if limit > goal then limit = goal end
    if not use_seconds(limit) and granted < limit then pay(limit) end
    if granted < limit or granted >= goal then break end
    look(start + granted * 1000)
  end
  if start + granted * 1000 >= edge then look(start + granted * 1000) end
  final = more() and 0 or 1
end
