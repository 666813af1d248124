-- What an account was charged in the present clock hour and day, and what its live legs hold. Twin of Spent in
-- rater/charging/caps.py.
--
-- spend  start of the clock hour, charged in it, start of the day, charged in it, held by live legs; packed
-- caps   4 values for each: place of its window in `spend` (1, 3), limit, start of the window, in shadow (0, 1)

local SPEND_KEPT_MS = '180000000'

local function spent(caps, state)
  local spend = state and {unpack_all(state)} or {0, 0, 0, 0, 0}
  for c = 1, #caps, 4 do
    local at = caps[c]
    if caps[c + 2] > spend[at] then spend[at], spend[at + 1] = caps[c + 2], 0 end
  end
  return spend
end

-- The money in the pieces that begin at list[first].
local function money_in(list, first)
  local micro = 0
  for p = first, #list, PIECE do
    if list[p + 3] == 0 then micro = micro + list[p + 7] end
  end
  return micro
end

local function note_spend(caps, spend, key, charged, held)
  for c = 1, #caps, 4 do spend[caps[c] + 1] = spend[caps[c] + 1] + charged end
  spend[5] = spend[5] + held > 0 and spend[5] + held or 0
  call('SET', key, pack(unpack(spend)), 'PX', SPEND_KEPT_MS)
end
