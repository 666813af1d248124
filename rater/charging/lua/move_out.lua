-- Take everything of an account out of its shard, into one value that is kept until it is known to have arrived.
-- Knows nothing of what the values mean: whoever asks has read them, and since `move_begin` nothing of them changes.
--
-- KEYS  1 account  2 what is under way  3 accounts  4 ledger  5… what goes with it
-- ARGV  1 account, number of the move, shard that it goes to; packed one after the other   2 everything, packed
--       3 ledger entry, packed, or ""   4… for each key from the fifth on: `value`, `member` or `score`, and the
--       member; packed one after the other
-- Writes  all of them.
-- Returns 1, or 0 when the account is not leaving by that move (any more).
-- uses: prelude

local account_id, number, to = unpack_all(ARGV[1])
local held = call('GET', KEYS[1])
if not away(held) then return 0 end
local _, state, moves = unpack_all(held)
if state ~= 0 or moves ~= number then return 0 end
call('SET', KEYS[2], ARGV[2])
call('SET', KEYS[1], pack(77, 1, number, to))
call('SREM', KEYS[3], account_id)
if ARGV[3] ~= '' then call('XADD', KEYS[4], '*', 'account', account_id, 'e', ARGV[3]) end
for i = 5, #KEYS do
  local kind, member = unpack_all(ARGV[i - 1])
  if kind == 'value' then
    call('DEL', KEYS[i])
  elseif kind == 'member' then
    call('SREM', KEYS[i], member)
  else
    call('ZREM', KEYS[i], member)
  end
end
return 1
