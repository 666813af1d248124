-- Threshold crossings. Twin of `levels` and `crossed` in rater/charging/books.py.
-- thresholds, 4 values for each: id, kind (0 money_below, 1 allowance_percent), value, grant or "".

-- Where each one's quantity stands: the balance, or the seconds used of the allowance's cycle; false when there is none.
local function levels(a, thresholds, now)
  local found = {}
  for t = 1, #thresholds, 4 do
    if thresholds[t + 1] == 0 then
      found[#found + 1] = a[2]
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
  local granted = a[cycle_at(a, grant, now) + 3]
  return 100 * was < value * granted and 100 * is >= value * granted
end

-- One outbox entry for each threshold that lies between the levels before and now.
local function announce(a, thresholds, before, outbox, op, account_id, now)
  local after = levels(a, thresholds, now)
  for k = 1, #after do
    local t = 4 * k - 3
    local id, kind, value, grant = thresholds[t], thresholds[t + 1], thresholds[t + 2], thresholds[t + 3]
    if crossed(a, kind, value, grant, before[k], after[k], now) then
      call('XADD', outbox, '*', 'k', 'threshold', 'f', '\128', 'r', '\137' .. pack('threshold', id,
        'kind', kind == 0 and 'money_below' or 'allowance_percent', 'value', value, 'grant', grant,
        'before', before[k], 'after', after[k], 'account', account_id, 'at_ms', now, 'id', op .. ':' .. id))
    end
  end
end
