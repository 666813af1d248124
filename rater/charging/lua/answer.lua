-- Write down when the leg was answered, and the facts with the channel it runs on; renew its leases.
--
-- KEYS  1 leg  2 epoch of the switch  3 switches  4 account  5… the leg's lease sets
-- ARGV  1 number of the operation, epoch (text), now_ms, leg, switch, answered_at_ms, lease scopes as packed at the
--         reservation; packed one after the other   2 facts, a msgpack map
-- Writes  leg, lease sets; the epoch when it is newer.
-- Returns a reply: ok, stale, gone; or 5 and the scopes, 6 and where the account is.
-- uses: prelude legs

local n, epoch, now, leg_id, switch, answered_at, scopes = unpack_all(ARGV[1])
local held = call('MGET', KEYS[1], KEYS[2], KEYS[4])
if held[2] ~= epoch and is_stale(held[2], epoch, KEYS[2], KEYS[3], switch) then return STALE end
if not held[1] then return away(held[3]) and '\6\0' .. held[3] or GONE end
local last, granted, final, seen, leased, to, paid, count, _, exempt, draws, facts_at = leg_numbers(held[1])
if last and n > last and not away(held[3]) then
  local _, _, needs = unpack_some(held[1], 2, LEG_BYTES)
  if needs == scopes then
    local reply, lease = answer_of(0, granted, final, 0, 0), lease_of(leased, now, 0, granted)
    local head = leg_head(n, reply, granted, final, answered_at, lease, to, paid, count, answered_at, exempt, draws, facts_at)
    call('SET', KEYS[1], head .. sub(held[1], LEG_BYTES + 1, facts_at) .. text_head(ARGV[2]) .. ARGV[2])
    if lease ~= leased then renew_leases(KEYS, 5, #KEYS, lease, leg_id) end
    return reply
  end
end
local leg, told = leg_for(held[1], n, scopes)
if told then return told end
if away(held[3]) then return '\6\0' .. held[3] end

local reply, before = answer_of(0, leg.granted, leg.final, 0, 0), leg.leased
leg.n, leg.reply, leg.answered, leg.seen, leg.facts = n, reply, answered_at, answered_at, ARGV[2]
leg.leased = lease_of(before, now, 0, leg.granted)
call('SET', KEYS[1], packed_again(leg))
if leg.leased ~= before then renew_leases(KEYS, 5, #KEYS, leg.leased, leg_id) end
return reply
