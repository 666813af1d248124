-- Record a denial that was decided before any balance was asked.
--
-- KEYS  1 operation  2 outbox
-- ARGV  1 reason   2 facts, a msgpack map
-- Writes  operation (kept for repeats), outbox `denied`.
-- Returns a reply: ok.
-- uses: prelude

local reply = '\0\0\0\0\0\0\0'
if not call('SET', KEYS[1], '1', 'NX', 'PX', DENIAL_KEPT_MS) then return reply .. '\1' end
call('XADD', KEYS[2], '*', 'k', 'denied', 'f', ARGV[2],
  'r', '\131' .. pack('reason', tonumber(ARGV[1]), 'balance_micro', 0, 'reserved_micro', 0))
return reply .. '\0'
