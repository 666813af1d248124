-- Limits that are no leases: call rates and spend caps; and what is only told (shadow). Twin of rater/charging/caps.py.
--
-- rate  when the latest attempts passed, ms, oldest first; packed
-- A reason below zero is of a rule in shadow.

local RATE_KEPT_MS, RATE_WINDOW_MS = '60000', 1000
local SHADOW_CREDIT = 1e15
local reason, would, spend, caps

local function begin_limits()
  begin_walk()
  reason, would, spend, caps = 0, 0, nil, nil
end

-- Notes that a rule is broken; of several the first by precedence counts.
local function breaks(broken)
  if broken > 0 and (reason == 0 or broken < reason) then reason = broken end
  if broken < 0 and (would == 0 or -broken < would) then would = -broken end
end

local function use_spend(packed, state)
  caps = {unpack_all(packed)}
  spend = spent(caps, state)
  for c = 1, #caps, 4 do
    local left = caps[c + 1] - spend[caps[c] + 1] - spend[5]
    if caps[c + 3] == 0 and left < spend_left then spend_left = left > 0 and left or 0 end
  end
end

-- Notes what a leg holds more, and whether that goes beyond a cap in shadow.
local function hold(key, more, of_spend)
  if more > 0 then note_spend(caps, spend, key, 0, more) end
  for c = 1, #caps, 4 do
    if caps[c + 3] == 1 and spend[caps[c] + 1] + spend[5] > caps[c + 1] then breaks(-of_spend) end
  end
end

-- Why no second more can be had.
local function shortage(has_terms, of_money, of_allowance, of_spend)
  if has_blocker() or (ours.use_money == 0 and has_terms) then return of_allowance end
  local next_s = granted < q_free and q_free + 1 or granted + 1
  if next_s <= q_horizon and price(next_s) - price(granted) > spend_left then return of_spend end
  return of_money
end

-- From here on whatever is asked for is granted.
local function relax()
  ours.floor, ours.use_money, spend_left, relaxed = account[2] - account[3] - SHADOW_CREDIT, 1, math.huge, true
end

-- The attempts that still count at `now`, at most the latest `most` of them; those of a clock set back do not.
local function recent(state, now, most)
  local all, kept = state and {unpack_all(state)} or {}, {}
  for i = 1, #all do
    if all[i] > now - RATE_WINDOW_MS and all[i] <= now + RATE_WINDOW_MS then kept[#kept + 1] = all[i] end
  end
  while #kept > most do table.remove(kept, 1) end
  return kept
end
