-- End a move whose account has arrived: here stays where it went.
--
-- KEYS  1 account  2 the moves under way  3 what was under way
-- ARGV  1 account, number of the move, shard that it went to, for how long what was under way is still kept (text, ms);
--         packed one after the other
-- Writes  all of them; nothing when the move has ended.
-- Returns 1, or 0.
-- uses: prelude

local account_id, number, to, kept_ms = unpack_all(ARGV[1])
local held = call('GET', KEYS[1])
if not away(held) then return 0 end
local _, state, moves = unpack_all(held)
if state ~= 1 or moves ~= number then return 0 end
call('SET', KEYS[1], pack(77, 2, number, to))
call('HDEL', KEYS[2], account_id)
call('PEXPIRE', KEYS[3], kept_ms)
return 1
