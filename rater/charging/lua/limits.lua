-- Limits that are no leases: call rates and spend caps; and what is only told (shadow). Twin of rater/charging/caps.py.
--
-- rate  when the latest attempts passed, ms, oldest first; packed
-- A reason below zero is of a rule in shadow.

local RATE_KEPT_MS, RATE_WINDOW_MS = '60000', 1000
local SHADOW_CREDIT = 1e15
local reason, would, spend, caps, owner_spend, owner_caps

local function begin_limits()
  begin_walk()
  reason, would, spend, caps, owner_spend, owner_caps = 0, 0, nil, nil, nil, nil
end

-- Notes that a rule is broken; of several the first by precedence counts.
local function breaks(broken)
  if broken > 0 and (reason == 0 or broken < reason) then reason = broken end
  if broken < 0 and (would == 0 or -broken < would) then would = -broken end
end

-- What the caps leave.
local function left_under(caps, spend)
  local least = math.huge
  for c = 1, #caps, 4 do
    local left = caps[c + 1] - spend[caps[c] + 1] - spend[5]
    if caps[c + 3] == 0 and left < least then least = left > 0 and left or 0 end
  end
  return least
end

local function use_spend(packed, state)
  caps = known(packed)
  spend = spent(caps, state)
  spend_left = left_under(caps, spend)
end

local function use_owner_spend(packed, state)
  owner_caps = known(packed)
  owner_spend = spent(owner_caps, state)
  owner_left = left_under(owner_caps, owner_spend)
end

-- Notes what a leg holds more, and whether that goes beyond a cap in shadow.
local function hold(caps, spend, more, of_spend)
  if more > 0 then
    count_spend(caps, spend, 0, more)
    spend.changed = true
  end
  for c = 1, #caps, 4 do
    if caps[c + 3] == 1 and spend[caps[c] + 1] + spend[5] > caps[c + 1] then breaks(-of_spend) end
  end
end

-- Counts what the leg holds more than `money_before`, of it `shared_before` of the group owner's, under the caps of the account and of the
-- group's owner.
local function hold_more(money_before, shared_before, of_spend)
  local money, shared = money_in(pieces)
  if caps then hold(caps, spend, money - money_before, of_spend) end
  if owner_caps then hold(owner_caps, owner_spend, shared - shared_before, of_spend) end
end

-- Writes down what was counted.
local function keep_held(key, owner_key)
  if spend and spend.changed then keep_spend(spend, key) end
  if owner_spend and owner_spend.changed then keep_spend(owner_spend, owner_key) end
end

-- Whether spend caps are what the next second costs too much for: those of the account, or of the group's owner, without
-- whose money the account has too little.
local function beyond_caps()
  if spend_left == math.huge and owner_left == math.huge then return false end
  local next_s = granted < q_free and q_free + 1 or granted + 1
  if next_s > q_horizon then return false end
  local cost = price(next_s) - price(granted)
  if cost > spend_left then return true end
  if owner_left == math.huge or cost == UNAFFORDABLE then return false end
  local _, left = measure()
  local kept = owner_left
  owner_left = math.huge
  local _, uncapped = measure()
  owner_left = kept
  return left < cost and cost <= uncapped
end

-- `final` as the reply has it: 2 when spend caps are why nothing more can be had.
local function final_told(has_terms)
  local waits = final == 1 and draws == 1 and granted < q_horizon
  if waits and beyond_caps() and not (has_blocker() or (ours.use_money == 0 and has_terms)) then return 2 end
  return final
end

-- Why no second more can be had.
local function shortage(has_terms, of_money, of_allowance, of_spend)
  if has_blocker() or (ours.use_money == 0 and has_terms) then return of_allowance end
  return beyond_caps() and of_spend or of_money
end

-- From here on whatever is asked for is granted.
local function relax()
  ours.floor, ours.use_money, spend_left, relaxed = account[2] - account[3] - SHADOW_CREDIT, 1, math.huge, true
  owner_left = math.huge
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
