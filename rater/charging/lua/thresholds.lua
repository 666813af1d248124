-- Threshold crossings. Twin of `levels` and `crossed` in rater/charging/books.py.
-- thresholds, 5 values for each: id, kind (place in KINDS, from 0), value, grant or "", start of the cycle in which it is
-- told once or 0. Needs `spend`.

local KINDS = {'money_below', 'allowance_percent', 'money_above', 'spend_hour', 'spend_day', 'spend_cycle'}
local CHARGED = {[3] = 2, [4] = 4, [5] = 7}

-- Where each one's quantity stands: the balance, the seconds used of the allowance's cycle, or what was charged in a
-- window of `spend`; false when there is none.
local function levels(a, thresholds, now, spend)
  local found = {}
  for t = 1, #thresholds, 5 do
    local kind = thresholds[t + 1]
    if kind == 0 or kind == 2 then
      found[#found + 1] = a[2]
    elseif kind > 2 then
      found[#found + 1] = spend and spend[CHARGED[kind]] or false
    else
      local i = cycle_at(a, thresholds[t + 3], now)
      found[#found + 1] = i and a[i + 4] or false
    end
  end
  return found
end

local function crossed(a, kind, value, grant, was, is, now)
  if not was or not is then return false end
  if kind == 0 then return was >= value and is < value end
  if kind ~= 1 then return was < value and is >= value end
  local granted = a[cycle_at(a, grant, now) + 3]
  return 100 * was < value * granted and 100 * is >= value * granted
end

-- Whether one of them is told once in a cycle, so that `spend` is needed.
local function tells_once(thresholds)
  for t = 5, #thresholds, 5 do
    if thresholds[t] > 0 then return true end
  end
  return false
end

-- Whether one that is told once in a cycle was not told in this one yet; then `spend` says so, and nothing of cycles before.
local function is_first(spend, id, cycle)
  local kept = {}
  for t = 8, #spend, 2 do
    if spend[t + 1] >= cycle then
      if spend[t] == id then return false end
      kept[#kept + 1], kept[#kept + 2] = spend[t], spend[t + 1]
    end
  end
  for t = #spend, 8, -1 do spend[t] = nil end
  for k = 1, #kept do spend[7 + k] = kept[k] end
  local k = #spend
  spend[k + 1], spend[k + 2] = id, cycle
  return true
end

-- Which thresholds lie between the levels before and now, 3 values for each: its place, the level before, the level now;
-- and whether `spend` was changed.
local function crossings(a, thresholds, before, now, spend)
  local found, told = {}, false
  local after = levels(a, thresholds, now, spend)
  for k = 1, #after do
    local t = 5 * k - 4
    if crossed(a, thresholds[t + 1], thresholds[t + 2], thresholds[t + 3], before[k], after[k], now) then
      local once = thresholds[t + 4]
      local first = once == 0 or is_first(spend, thresholds[t], once)
      if first then
        found[#found + 1], found[#found + 2], found[#found + 3] = t, before[k], after[k]
        told = told or once > 0
      end
    end
  end
  return found, told
end

-- One outbox entry for each.
local function tell(thresholds, found, outbox, op, account_id, now)
  for f = 1, #found, 3 do
    local t = found[f]
    call('XADD', outbox, '*', 'k', 'threshold', 'f', '\128', 'r', '\137' .. pack('threshold', thresholds[t],
      'kind', KINDS[thresholds[t + 1] + 1], 'value', thresholds[t + 2], 'grant', thresholds[t + 3], 'before', found[f + 1],
      'after', found[f + 2], 'account', account_id, 'at_ms', now, 'id', op .. ':' .. thresholds[t]))
  end
end
