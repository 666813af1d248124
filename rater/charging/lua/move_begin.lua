-- Begin to move an account to another shard: from now on whatever is asked of it here waits, and nothing of it changes.
--
-- KEYS  1 account  2 its homes  3 the moves under way
-- ARGV  1 account, shard that it goes to; packed one after the other
-- Writes  account, homes (the move's number), moves; nothing when the account moves already, or lives elsewhere.
-- Returns what stands in the account's place then.
-- uses: prelude

local account_id, to = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2])
if away(held[1]) then return held[1] end
local homes = held[2] and {unpack_all(held[2])} or {0}
homes[1] = homes[1] + 1
local stands = pack(77, 0, homes[1], to, held[1] or '')
call('SET', KEYS[1], stands)
call('SET', KEYS[2], pack(unpack(homes)))
call('HSET', KEYS[3], account_id, pack(homes[1], to))
return stands
