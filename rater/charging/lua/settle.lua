-- Charge what was talked, give back the rest, free the leases, append the rated event.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5 legs of the switch  6 ledger  7 outbox
--       8… the leg's lease sets
-- ARGV  1 number of the operation, epoch (text), now_ms, operation id, account, leg, switch, duration_s (0 when
--         unanswered), emit (0, 1), channel to wake other legs by, lease scopes as packed at the reservation; packed one
--         after the other   2 facts, a msgpack map   3 thresholds, see thresholds.lua; packed
-- Writes  account, the leg's tombstone, legs, lease sets, ledger, outbox `rated` and `threshold`; the epoch when newer.
-- Returns a reply: ok (amount charged in money, never for more than was paid ahead), stale, gone; or 5 and the scopes.
-- A leg never heard of is marked as gone, so that a reservation still under way cannot come after its end.
-- uses: prelude quote grants thresholds

local n, epoch, now, op, account_id, leg_id, switch, duration_s, emit, wake, scopes = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2], KEYS[4])
if is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if not held[1] then
  call('SET', KEYS[1], pack(0, n, '\2\0\0\0\0\0\0', 0), 'PX', LEG_KEPT_MS)
  return GONE
end
local leg = {unpack_all(held[1])}
if n == leg[2] then return leg[3] .. '\1' end
if leg[1] == 0 then return n < leg[2] and pack(2, 0, 0, 0, 0, 0, 0, 1) or GONE end
if n < leg[2] then return pack(0, 0, leg[6], leg[7], 0, 0, 0, 1) end
if leg[16] ~= scopes then return '\5' .. leg[16] end

account = held[3] and {unpack_all(held[3])} or {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
local thresholds = {unpack_all(ARGV[3])}
local before, levels_before = account[2], levels(thresholds)
local granted, draws = leg[6], leg[10]
local charged_s = duration_s < granted and duration_s or granted
use_quote(leg[14])

-- Takes `taken` of the `paid` seconds of one cycle of a grant.
local function use_grant(id, cycle, paid, taken)
  for i = GRANTS, #account, GRANT do
    if account[i] == id and account[i + 1] == cycle then
      local balance = account[i + 3] - account[i + 4]
      account[i + 5] = account[i + 5] - paid
      account[i + 4] = account[i + 4] + taken
      if taken > 0 then note('call', id, cycle, balance, balance - taken) end
      local left = account[i + 3] - account[i + 4] - account[i + 5]
      if account[i + 6] == 1 and left > 0 then
        note('expire', id, cycle, balance - taken, balance - taken - left)
        account[i + 3] = account[i + 3] - left
      end
      return
    end
  end
end

local amount, returned, count, listed = 0, 0, 0, ''
for p = PIECES, #leg, PIECE do
  local grant, from, to, paid, taken = leg[p], leg[p + 5], leg[p + 6], leg[p + 7], 0
  if to > charged_s then to = charged_s end
  if grant == '' then
    if to > from and draws == 1 then taken = price(to) - price(from) end
    amount = amount + taken
  else
    local free, first, following = leg[p + 2], leg[p + 3], leg[p + 4]
    if to > from then taken = counted(to, free, first, following) - counted(from, free, first, following) end
    use_grant(grant, leg[p + 1], paid, taken)
  end
  returned = returned + paid - taken
  if to > from then
    count = count + 1
    listed = listed .. '\148' .. pack(grant, from, to, taken)
  end
end
account[2] = before - amount
account[7] = account[7] + amount
account[3] = account[3] - leg[8]
account[9] = account[9] - draws
if draws == 1 and leg[7] == 1 and granted < q_horizon then account[10] = account[10] - 1 end
for i = GRANTS, #account, GRANT do
  if account[i + 6] == 1 then
    drop_spent(now)
    break
  end
end

local reply = pack(0, 0, granted, 0, amount, account[2], account[3])
call('SET', KEYS[1], pack(0, n, reply, 0), 'PX', LEG_KEPT_MS)
call('SET', KEYS[4], pack(unpack(account)))
call('SREM', KEYS[5], leg_id)
for i = 8, #KEYS do call('ZREM', KEYS[i], leg_id) end
if amount > 0 then
  call('XADD', KEYS[6], '*', 'account', account_id, 'e', pack(op, now, '', 'call', '', 0, before, account[2], unpack(lines)))
elseif #lines > 0 then
  call('XADD', KEYS[6], '*', 'account', account_id, 'e', pack(op, now, '', unpack(lines)))
end
if emit == 1 then
  local head = count < 16 and string.char(144 + count) or '\220' .. struct.pack('>I2', count)
  call('XADD', KEYS[7], '*', 'k', 'rated', 'f', ARGV[2], 'r', '\135' .. pack('amount_micro', amount,
    'duration_s', charged_s, 'granted_s', granted, 'balance_before_micro', before,
    'balance_after_micro', account[2], 'pieces') .. head .. listed .. pack('quote') .. leg[14])
end
if #thresholds > 0 then announce(thresholds, levels_before, KEYS[7], op, account_id, now) end
if account[10] > 0 and returned > 0 then call('PUBLISH', wake, account_id) end
return reply .. '\0'
