-- What an account was charged in the present clock hour, day and cycle, and what its live legs hold (of a group's owner
-- also what its members take of it). Twin of Spent in rater/charging/caps.py.
--
-- spend  start of the clock hour, charged in it, start of the day, charged in it, held by live legs, start of the cycle,
--        charged in it, and for each threshold that was told once in a cycle: its id, the cycle's start; packed
-- caps   4 values for each: place of its window in `spend` (1, 3, 6), limit, start of the window, in shadow (0, 1), or 2
--        when it is only counted what is charged

local SPEND_KEPT_MS, CYCLE_KEPT_MS = '180000000', '3456000000'

local function spent(caps, state)
  local spend = state and {unpack_all(state)} or {0, 0, 0, 0, 0, 0, 0}
  if not spend[6] then spend[6], spend[7] = 0, 0 end
  for c = 1, #caps, 4 do
    local at = caps[c]
    if caps[c + 2] > spend[at] then spend[at], spend[at + 1] = caps[c + 2], 0 end
  end
  return spend
end

-- The money in pieces, and what of it is the group owner's.
local function money_in(list)
  local micro, shared = 0, 0
  for p = 1, #list, PIECE do
    if list[p + 3] == 0 then
      micro = micro + list[p + 7]
      if list[p + 8] == 1 then shared = shared + list[p + 7] end
    end
  end
  return micro, shared
end

local function keep_spend(spend, key)
  call('SET', key, pack(unpack(spend)), 'PX', (spend[6] > 0 or #spend > 7) and CYCLE_KEPT_MS or SPEND_KEPT_MS)
end

-- So much more was charged, so much more is held (less, when negative).
local function count_spend(caps, spend, charged, held)
  for c = 1, #caps, 4 do spend[caps[c] + 1] = spend[caps[c] + 1] + charged end
  spend[5] = spend[5] + held > 0 and spend[5] + held or 0
end
