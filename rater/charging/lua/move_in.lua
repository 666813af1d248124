-- Put an account that was taken out of another shard into this one, once.
--
-- KEYS  1 account  2 its homes  3 accounts  4 ledger  5 count of arrivals  6… what comes with it
-- ARGV  1 account, number of the move; packed one after the other   2 the account, or "" when there was none
--       3 its homes, packed   4 ledger entry, packed, or ""   5… for each key from the sixth on: `value` and the value,
--       `timed`, the value and for how long (text, ms), `member` and the member, or `score`, the member and the score
--       (text); packed one after the other
-- Writes  all of them.
-- Returns 1; 0 when it has arrived before; -1 when another account has that name here, and nothing was done.
-- uses: prelude

local account_id, number = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2])
if held[2] and unpack_all(held[2]) >= number then return 0 end
if held[1] and not away(held[1]) then return -1 end
call('SET', KEYS[2], ARGV[3])
if ARGV[2] == '' then
  call('DEL', KEYS[1])
else
  call('SET', KEYS[1], ARGV[2])
  call('SADD', KEYS[3], account_id)
end
if ARGV[4] ~= '' then call('XADD', KEYS[4], '*', 'account', account_id, 'e', ARGV[4]) end
call('INCR', KEYS[5])
for i = 6, #KEYS do
  local kind, value, more = unpack_all(ARGV[i - 1])
  if kind == 'value' then
    call('SET', KEYS[i], value)
  elseif kind == 'timed' then
    call('SET', KEYS[i], value, 'PX', more)
  elseif kind == 'member' then
    call('SADD', KEYS[i], value)
  else
    call('ZADD', KEYS[i], more, value)
  end
end
return 1
