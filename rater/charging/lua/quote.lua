-- The price of a leg: the twin of cumulative_micro in rater/money.py.
-- Division is done with fmod, which is exact, never by flooring a quotient that may have been rounded.

-- q: Quote.to_wire, of which the places of what is asked for seldom are named where they are read.
local q_horizon, q_free, q_class, q, q_known
local UNAFFORDABLE = math.huge
local PRICES_MOST = 32

-- `wire`: Quote.to_wire, packed: a list within a list of one.
local function use_quote(wire)
  local found = known(wire)
  if found == q_known then return end
  q_known, q = found, found[1]
  q_horizon, q_free, q_class = q[2], q[3], q[11]
end

-- `whole` + `part`/den micro-units, to the unit.
local function to_unit(whole, part)
  local unit, rounding, den = q[7], q[8], q[9]
  local over = fmod(whole, unit)
  if over == 0 and part == 0 then return whole end
  local down = whole - over
  if rounding == 0 then return down + unit end
  if rounding == 1 then return down end
  -- The rest, over + part/den, against half a unit, without multiplying large numbers.
  local short = unit - 2 * over
  if short < 0 or (short == 0 and part > 0) or (short == 1 and 2 * part > den) then return down + unit end
  local tie = (short == 0 and part == 0) or (short == 1 and 2 * part == den)
  if tie and (rounding == 2 or fmod(down / unit, 2) == 1) then return down + unit end
  return down
end

-- C(n) in micro-units; UNAFFORDABLE beyond the exact range.
local function price(n)
  if n <= q_free then return 0 end
  local whole, least, most, all_den, segments = q[4], q[5], q[6], q[9], q[12]
  local part = 0
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
      part = part + below * (all_den / den)
    end
  end
  if part >= all_den then
    local below = fmod(part, all_den)
    whole, part = whole + (part - below) / all_den, below
  end
  if whole < least then whole, part = least, 0 end
  if most >= 0 and whole >= most then whole, part = most, 0 end
  if whole > MAX_AMOUNT then return UNAFFORDABLE end
  local rounded = to_unit(whole, part)
  return rounded <= MAX_AMOUNT and rounded or UNAFFORDABLE
end

-- The same; kept with the quote, for the ends of slices, which are the same for nearly every leg.
local function slice_price(n)
  local prices = q_known.prices
  local micro = prices and prices[n]
  if micro then return micro end
  if not prices or q_known.prices_count == PRICES_MOST then
    prices = {}
    q_known.prices, q_known.prices_count = prices, 0
  end
  micro = price(n)
  prices[n], q_known.prices_count = micro, q_known.prices_count + 1
  return micro
end

-- C of the whole horizon, kept with the quote.
local function full_price()
  if not q_known.full then q_known.full = price(q_horizon) end
  return q_known.full
end

-- The end of the increment that n lies in, within the horizon: up to there it costs the same.
local function increment_end(n)
  if n >= q_horizon then return q_horizon end
  local from, step, segments = 0, 1, q[12]
  for i = 1, #segments, 5 do
    if segments[i] >= n then break end
    from, step = segments[i], segments[i + 1]
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
