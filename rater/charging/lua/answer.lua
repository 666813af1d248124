-- Write down when the leg was answered, and the facts with the channel it runs on; renew its leases.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5… the leg's lease sets
-- ARGV  1 number of the operation, epoch (text), now_ms, leg, switch, answered_at_ms, lease scopes as packed at the
--         reservation; packed one after the other   2 facts, a msgpack map
-- Writes  leg, lease sets; the epoch when it is newer.
-- Returns a reply: ok, stale, gone; or 5 and the scopes, 6 and where the account is.
-- uses: prelude

local n, epoch, now, leg_id, switch, answered_at, scopes = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2], KEYS[4])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if not held[1] then return away(held[3]) and '\6\0' .. held[3] or GONE end
local leg = {unpack_all(held[1])}
if n == leg[2] then return leg[3] .. '\1' end
if leg[1] == 0 then return n < leg[2] and pack(2, 0, 0, 0, 0, 0, 0, 1) or GONE end
if n < leg[2] then return pack(0, 0, leg[6], leg[7], 0, 0, 0, 1) end
if leg[16] ~= scopes then return '\5' .. leg[16] end
if away(held[3]) then return '\6\0' .. held[3] end

local reply = pack(0, 0, leg[6], leg[7], 0, 0, 0)
leg[2], leg[3], leg[12], leg[13], leg[15] = n, reply, answered_at, answered_at, ARGV[2]
local expiry = digits(now + leg[6] * 1000 + LEASE_MARGIN_MS)
call('SET', KEYS[1], pack(unpack(leg)))
for i = 5, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
return reply .. '\0'
