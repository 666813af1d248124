-- Pays a leg ahead: allowances in the order given, then money. Twin of `Walk` in rater/charging/books.py.
-- `sharers` is twice the legs that draw on the account: near the end each takes half of its equal share at a time.

local pieces, granted, final, reserved, draws = {}, 0, 0, 0, 1
local floor_micro, use_money, short_s, terms, sharers

local function available()
  local micro = account[2] - floor_micro - account[3]
  return micro > 0 and micro or 0
end

local function add(grant, cycle, free, first, following, to, amount)
  local k = #pieces
  if k > 0 and pieces[k - 7] == grant and pieces[k - 6] == cycle and pieces[k - 5] == free
    and pieces[k - 4] == first and pieces[k - 3] == following then
    pieces[k - 1], pieces[k] = to, pieces[k] + amount
  else
    pieces[k + 1], pieces[k + 2], pieces[k + 3], pieces[k + 4] = grant, cycle, free, first
    pieces[k + 5], pieces[k + 6], pieces[k + 7], pieces[k + 8] = following, granted, to, amount
  end
  granted = to
end

-- Whether the allowance terms[t], open as account[i], has one second more; a rest smaller than an increment has not.
local function goes_on(t, i)
  local left = account[i + 3] - account[i + 4] - account[i + 5]
  return reach(granted, granted + 1, left, terms[t + 2], terms[t + 3], terms[t + 4]) > granted
end

-- True when one of the allowances could still go on: then nothing after it is touched.
local function use_allowances(goal)
  for t = 1, #terms, 7 do
    local i = open_grant(terms[t])
    if i then
      if granted >= goal then return true end
      local free, first, following = terms[t + 2], terms[t + 3], terms[t + 4]
      local budget = account[i + 3] - account[i + 4] - account[i + 5]
      if not terms[t + 7] and not (use_money == 1 and available() > 0) then
        -- Nothing can follow it: what is left is shared, like money.
        local share = (budget - fmod(budget, sharers)) / sharers
        local short = granted + short_s > free and granted + short_s or free + 1
        local least = counted(short, free, first, following) - counted(granted, free, first, following)
        if least > share then share = least end
        if share < budget then budget = share end
      end
      local to = reach(granted, goal, budget, free, first, following)
      if to > granted then
        local amount = counted(to, free, first, following) - counted(granted, free, first, following)
        account[i + 5] = account[i + 5] + amount
        add(terms[t], account[i + 1], free, first, following, to, amount)
      end
      if goes_on(t, i) then return true end
    end
  end
  return false
end

-- One slice of money: up to the goal, or an equal share, but at least a short slice while it lasts.
local function pay(goal)
  local paid, left = price(granted), available()
  if paid == UNAFFORDABLE then return end
  if goal <= q_free then goal = q_free + 1 end
  if goal > q_horizon then goal = q_horizon end
  local to, budget = goal, (left - fmod(left, sharers)) / sharers
  if price(goal) - paid > budget then
    local short = granted + short_s > q_free and granted + short_s or q_free + 1
    local least = price(short < q_horizon and short or q_horizon) - paid
    if least > budget then budget = least < left and least or left end
    to = affordable(granted, goal, paid, budget)
  end
  if to > granted and to > q_free then
    local amount = price(to) - paid
    account[3] = account[3] + amount
    reserved = reserved + amount
    add('', 0, 0, 1, 1, to, amount)
  end
end

-- Whether one second more could be had now.
local function more()
  if granted >= q_horizon then return false end
  if draws == 0 then return true end
  for t = 1, #terms, 7 do
    local i = open_grant(terms[t])
    if i and goes_on(t, i) then return true end
  end
  if use_money == 0 then return false end
  local next_s = granted < q_free and q_free + 1 or granted + 1
  return next_s <= q_horizon and price(next_s) - price(granted) <= available()
end

-- Pays up to `goal`, or as far as it reaches, and notes whether that was all.
local function walk(goal)
  if draws == 0 then
    if goal > granted then add('', 0, 0, 1, 1, goal, 0) end
  elseif not use_allowances(goal) and granted < goal and use_money == 1 then
    pay(goal)
  end
  final = more() and 0 or 1
end
