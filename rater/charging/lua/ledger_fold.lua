-- Move the oldest page of the ledger into the checkpoint: drop its entries and store what the sums are with them.
-- At every moment the checkpoint's sums and the entries that the stream holds make up the whole ledger.
--
-- KEYS  1 ledger  2 checkpoint  3 sums
-- ARGV  1 the checkpoint's place as the caller read it  2 id of the page's last entry, the new place  3 the id after
--       it  4 how many entries the page has  5 `1` when the archive ends with this page  6… account, its packed sums
--       ('' when all are zero)
-- Writes  ledger, checkpoint (`at`, `entries`, `archive`), sums (see rater/charging/ledger.py).
-- Returns 1, or 0 when the checkpoint has moved, or the ledger does not begin with exactly these entries.
--
-- The first write frees memory, so that Redis lets the script through when it is out of it, and then the others too.

local at = redis.call('HGET', KEYS[2], 'at') or '0-0'
if at ~= ARGV[1] then return 0 end
local count = tonumber(ARGV[4])
if #redis.call('XRANGE', KEYS[1], '-', ARGV[2], 'COUNT', count + 1) ~= count then return 0 end
redis.call('HLEN', KEYS[3])  -- a key of another type fails here, before anything is written

redis.call('XTRIM', KEYS[1], 'MINID', ARGV[3])
redis.call('HSET', KEYS[2], 'at', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'entries', count)
if ARGV[5] == '1' then redis.call('HDEL', KEYS[2], 'archive', 'until') end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[3], ARGV[i])
  else
    redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  end
end
return 1
