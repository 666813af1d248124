-- The price of a leg: the twin of cumulative_micro in rater/money.py.
-- Division is done with fmod, which is exact, never by flooring a quotient that may have been rounded.

local q_horizon, q_free, q_connect, q_min, q_max, q_unit, q_rounding, q_den, q_class, q_segments, q_known
local UNAFFORDABLE = math.huge

-- `wire`: Quote.to_wire, packed: a list within a list of one.
local function use_quote(wire)
  local found = known(wire)
  if found == q_known then return end
  q_known = found
  local q = found[1]
  q_horizon, q_free, q_connect, q_min, q_max, q_unit = q[2], q[3], q[4], q[5], q[6], q[7]
  q_rounding, q_den, q_class, q_segments = q[8], q[9], q[11], q[12]
end

-- `whole` + `part`/q_den micro-units, to the unit.
local function to_unit(whole, part)
  local over = fmod(whole, q_unit)
  if over == 0 and part == 0 then return whole end
  local down = whole - over
  if q_rounding == 0 then return down + q_unit end
  if q_rounding == 1 then return down end
  -- The rest, over + part/q_den, against half a unit, without multiplying large numbers.
  local short = q_unit - 2 * over
  if short < 0 or (short == 0 and part > 0) or (short == 1 and 2 * part > q_den) then return down + q_unit end
  local tie = (short == 0 and part == 0) or (short == 1 and 2 * part == q_den)
  if tie and (q_rounding == 2 or fmod(down / q_unit, 2) == 1) then return down + q_unit end
  return down
end

-- C(n) in micro-units; UNAFFORDABLE beyond the exact range.
local function price(n)
  if n <= q_free then return 0 end
  local whole, part, segments = q_connect, 0, q_segments
  for i = 1, #segments, 5 do
    local billed = n - segments[i]
    if billed <= 0 then break end
    local following = segments[i + 5]
    if following and following < n then billed = following - segments[i] end
    local begun = fmod(billed, segments[i + 1])
    if begun > 0 then billed = billed + segments[i + 1] - begun end
    local num, den = segments[i + 2], segments[i + 3]
    local rest = fmod(num, den)
    whole = whole + (num - rest) / den * billed
    if rest > 0 then
      rest = rest * billed
      local below = fmod(rest, den)
      whole = whole + (rest - below) / den
      part = part + below * (q_den / den)
    end
  end
  if part >= q_den then
    local below = fmod(part, q_den)
    whole, part = whole + (part - below) / q_den, below
  end
  if whole < q_min then whole, part = q_min, 0 end
  if q_max >= 0 and whole >= q_max then whole, part = q_max, 0 end
  if whole > MAX_AMOUNT then return UNAFFORDABLE end
  local rounded = to_unit(whole, part)
  return rounded <= MAX_AMOUNT and rounded or UNAFFORDABLE
end

-- C of the whole horizon, kept with the quote.
local function full_price()
  if not q_known.full then q_known.full = price(q_horizon) end
  return q_known.full
end

-- The end of the increment that n lies in, within the horizon: up to there it costs the same.
local function increment_end(n)
  if n >= q_horizon then return q_horizon end
  local from, step = 0, 1
  for i = 1, #q_segments, 5 do
    if q_segments[i] >= n then break end
    from, step = q_segments[i], q_segments[i + 1]
  end
  local begun = fmod(n - from, step)
  if begun > 0 then n = n + step - begun end
  return n < q_horizon and n or q_horizon
end

-- The longest n, from <= n <= to, with C(n) - paid <= budget, where paid = C(from).
local function affordable(from, to, paid, budget)
  while from < to do
    local middle = from + to + 1
    middle = (middle - fmod(middle, 2)) / 2
    if price(middle) - paid <= budget then from = middle else to = middle - 1 end
  end
  return from
end
