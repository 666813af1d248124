-- Reserve the leg's next slice and renew its leases.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 ledger  6… the leg's lease sets
-- ARGV  1 number of the operation, epoch (text), now_ms, operation id, account, leg, switch, elapsed_s,
--         floor (micro-units), use_money (0, 1), long_s, short_s, seen_at_ms, lease scopes as packed at the
--         reservation; packed one after the other   2 allowances, see `renew`; packed
-- Writes  leg, account, lease sets, ledger (when an allowance opens or closes); the epoch when it is newer.
-- Returns a reply: ok (granted_s as before when nothing more could be had), stale, gone; or 5 and the scopes.
-- uses: prelude quote grants walk

local n, epoch, now, op, account_id, leg_id, switch, elapsed_s, long_s, seen, scopes
n, epoch, now, op, account_id, leg_id, switch, elapsed_s, floor_micro, use_money, long_s, short_s, seen, scopes =
  unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2], KEYS[4])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if not held[1] then return GONE end
local leg = {unpack_all(held[1])}
if n == leg[2] then return leg[3] .. '\1' end
if leg[1] == 0 then return n < leg[2] and pack(2, 0, 0, 0, 0, 0, 0, 1) or GONE end
if n < leg[2] then return pack(0, 0, leg[6], leg[7], 0, 0, 0, 1) end
if leg[16] ~= scopes then return '\5' .. leg[16] end

account = held[3] and {unpack_all(held[3])} or {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
terms = {unpack_all(ARGV[2])}
use_quote(leg[14])
renew(terms, now)
granted, final, reserved, draws = leg[6], leg[7], leg[8], leg[10]
local waited = draws == 1 and final == 1 and granted < q_horizon
for i = PIECES, #leg do pieces[i - PIECES + 1] = leg[i] end
sharers = 2 * account[9]
walk(increment_end(elapsed_s + long_s))
local waits = draws == 1 and final == 1 and granted < q_horizon
if waits ~= waited then account[10] = account[10] + (waits and 1 or -1) end

local reply = pack(0, 0, granted, final, 0, account[2], account[3])
leg[2], leg[3], leg[6], leg[7], leg[8], leg[13] = n, reply, granted, final, reserved,
  seen > leg[13] and seen or leg[13]
for i = 1, #pieces do leg[PIECES + i - 1] = pieces[i] end
call('MSET', KEYS[4], pack(unpack(account)), KEYS[1], pack(unpack(leg)))
local expiry = now + granted * 1000 + LEASE_MARGIN_MS
for i = 6, #KEYS do call('ZADD', KEYS[i], expiry, leg_id) end
if #lines > 0 then call('XADD', KEYS[5], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines))) end
return reply .. '\0'
