-- Give up a move of which nothing has left yet.
--
-- KEYS  1 account  2 the moves under way
-- ARGV  1 account, number of the move; packed one after the other
-- Writes  account as it was, moves; nothing when the move has gone on.
-- Returns 1 when it was given up, else 0.
-- uses: prelude

local account_id, number = unpack_all(ARGV[1])
local held = call('GET', KEYS[1])
if not away(held) then return 0 end
local _, state, moves, _, account = unpack_all(held)
if state ~= 0 or moves ~= number then return 0 end
if account == '' then call('DEL', KEYS[1]) else call('SET', KEYS[1], account) end
call('HDEL', KEYS[2], account_id)
return 1
