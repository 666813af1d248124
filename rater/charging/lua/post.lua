-- Move an account's money by hand; creates the account when it is new.
-- KEYS  1 account  2 operation  3 outbox  4 ledger  5 live legs of the account  6 accounts of the shard
-- ARGV  1 msgpack {op, account id, kind (0 opening, 1 credit, 2 debit), amount, now_ms, terms, cause, credit reason,
--         kept_ms}
--       2 the channel on which waiting legs are told that money arrived
-- Returns a reply, see _lib.lua. CONFLICT: the operation id was used before with other contents.
local a = cmsgpack.unpack(ARGV[1])
local op, name, kind, amount, now, terms = a[1], a[2], a[3], a[4], a[5], a[6]
local contents = string.format('%s|%d|%.0f', name, kind, amount)
local first = load(KEYS[2])
if first then
  if first[1] == contents then return again(first[2]) end
  return {CONFLICT, 0, 0, 0, 0, 0, 0, 0}
end
local account = load(KEYS[1]) or new_account()
local before = account.b
if kind == 2 and before - account.r - amount < terms[1] then
  return {DENIED, a[8], 0, 0, 0, account.b, account.r, 0}
end
if kind == 2 then
  account.b, account.d = before - amount, account.d + amount
elseif kind == 1 then
  account.b, account.c = before + amount, account.c + amount
else
  account.b, account.o = before + amount, account.o + amount
end
if account.b > 9000000000000000 or account.b < -9000000000000000 then
  return {DENIED, a[8], 0, 0, 0, before, account.r, 0}
end
local reply = {OK, 0, 0, 0, amount, account.b, account.r, 0}
local found = crossings(terms[4], before, account.b, {}, account)
redis.call('SET', KEYS[1], cmsgpack.pack(account))
redis.call('SADD', KEYS[6], name)
note(KEYS[4], op, name, 'money', a[7], before, account.b, now)
keep(KEYS[2], {contents, reply}, a[9])
report(KEYS[3], found, name, op, now)
if kind ~= 2 and redis.call('ZCARD', KEYS[5]) > 0 then redis.call('PUBLISH', ARGV[2], name) end
return reply
