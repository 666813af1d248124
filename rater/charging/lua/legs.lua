-- A live leg: in memory, as it is stored (see prelude.lua), and changed in place.

-- A leg in memory: n, reply, granted, final, seen, leased, answered, exempt, draws, owner, needs, quote, account, switch,
-- reserved, facts, pieces (10 values each, as those from 29 on; in memory the last is one of them).
local function leg_of(v)
  local leg, k, at, pieces = {}, #v, 29, {}
  leg.pieces, leg.n, leg.reply = pieces, v[2], v[3]
  if v[1] == 1 then
    leg.account, leg.switch, leg.granted, leg.final, leg.owner, leg.exempt, leg.draws = unpack(v, 4, 10)
    leg.reserved, leg.answered, leg.seen, leg.quote, leg.facts, leg.needs = unpack(v, 11, 16)
    leg.leased, at = 0, 17
    for i = at, k do pieces[i - at + 1] = v[i] end
    return leg
  end
  if v[1] ~= 2 then error('a leg is stored in a form that is not known here') end
  leg.granted, leg.final, leg.seen, leg.leased = v[4], v[5], v[6], v[7]
  leg.answered, leg.exempt, leg.draws = v[11], v[12], v[13]
  leg.owner, leg.needs, leg.quote, leg.account, leg.switch, leg.reserved = v[15], v[16], v[17], v[26], v[27], v[28]
  leg.facts = v[k]
  for i = at, k - 1 do pieces[i - at + 1] = v[i] end
  k = #pieces
  for i = 1, 6 do pieces[k + i] = v[17 + i] end
  pieces[k + 7], pieces[k + 8], pieces[k + 9], pieces[k + 10] = v[8], v[9], v[24], v[25]
  return leg
end

-- The leg as the operation of that number is to find it; or nil, and what is answered instead: its first answer, that of one
-- that came after it, that the leg is over, or that it needs other keys.
local function leg_for(text, n, needs)
  local stored = {unpack_all(text)}
  if n == stored[2] then return nil, stored[3] .. '\1' end
  if stored[1] == 0 then return nil, n < stored[2] and pack(2, 0, 0, 0, 0, 0, 0, 1) or GONE end
  local leg = leg_of(stored)
  if n < leg.n then return nil, pack(0, 0, leg.granted, leg.final, 0, 0, 0, 1) end
  if leg.needs ~= needs then return nil, '\5' .. leg.needs end
  return leg
end

local LEG_NUMBERS, LEG_BYTES = '>BBI4Bc27BI4BBi8Bi8BI4Bi8BBi8BBBI4', 89

-- What a leg begins with: its numbers. Of the reply the first 27 bytes.
local function leg_head(n, reply, granted, final, seen, leased, to, amount, count, answered, exempt, draws, facts_at)
  return to_bytes(LEG_NUMBERS, 2, 206, n, 187, reply, 206, granted, final, 211, seen, 211, leased, 206, to, 211, amount,
    count, 211, answered, exempt, draws, 206, facts_at)
end

-- How a packed text begins that is as long as this one. What is put together of such parts need not be made twice, once as a
-- packed value and once as a part of the leg: Lua looks at each byte of every text that is made.
local heads = {}

local function text_head(text)
  local long = #text
  local head = heads[long]
  if not head then
    if long < 32 then head = to_bytes('B', 160 + long)
    elseif long < 256 then head = to_bytes('BB', 217, long)
    elseif long < 65536 then head = to_bytes('>BI2', 218, long)
    else head = to_bytes('>BI4', 219, long) end
    if long < 4096 then heads[long] = head end
  end
  return head
end

local SOURCE_NUMBERS, SOURCE_BYTES = '>Bi8BI4BI4BI4BI4BBi8', 39

-- Of the last piece: start of its grant's cycle, its cadence, from when, whether shared, its quota's cycle.
local function source_numbers(cycle, free, first, following, from, shared, quota)
  return to_bytes(SOURCE_NUMBERS, 211, cycle, 206, free, 206, first, 206, following, 206, from, shared, 211, quota)
end

-- A leg with the numbers that it begins with, but for where its facts begin; `grant` and `source`: of its last piece, `others`: the
-- other pieces, packed.
local function leg_text(n, reply, granted, final, seen, leased, to, amount, count, answered, exempt, draws, owner, needs, quote,
    grant, source, account, switch, reserved, others, facts)
  local of_owner, of_needs, of_quote, of_grant = text_head(owner), text_head(needs), text_head(quote), text_head(grant)
  local of_account, of_switch = text_head(account), text_head(switch)
  local facts_at = LEG_BYTES + #of_owner + #owner + #of_needs + #needs + #of_quote + #quote + #of_grant + #grant + SOURCE_BYTES
    + #of_account + #account + #of_switch + #switch + 9 + #others
  return leg_head(n, reply, granted, final, seen, leased, to, amount, count, answered, exempt, draws, facts_at)
    .. of_owner .. owner .. of_needs .. needs .. of_quote .. quote .. of_grant .. grant .. source .. of_account .. account
    .. of_switch .. switch .. to_bytes('>Bi8', 211, reserved) .. others .. text_head(facts) .. facts
end

-- The same; `p`: its pieces.
local function packed_leg(n, reply, granted, final, seen, leased, answered, exempt, draws, owner, needs, quote, account, switch,
    reserved, facts, p)
  local k = #p
  local others, count = k > PIECE and pack(unpack(p, 1, k - PIECE)) or '', k / PIECE
  return leg_text(n, reply, granted, final, seen, leased, p[k - 3], p[k - 2], count < 127 and count or 127, answered, exempt, draws,
    owner, needs, quote, p[k - 9], source_numbers(p[k - 8], p[k - 7], p[k - 6], p[k - 5], p[k - 4], p[k - 1], p[k]), account, switch,
    reserved, others, facts)
end

-- The same of a new leg that one source alone pays for.
local function leg_of_one_source(n, reply, granted, leased, amount, needs, quote, grant, cycle, free, first, following, account,
    switch, now, facts)
  return leg_text(n, reply, granted, 0, 0, leased, granted, amount, 1, -1, 0, 1, '', needs, quote, grant,
    source_numbers(cycle, free, first, following, 0, 0, -1), account, switch, now, '', facts)
end

local function packed_again(leg)
  return packed_leg(leg.n, leg.reply, leg.granted, leg.final, leg.seen, leg.leased, leg.answered, leg.exempt, leg.draws, leg.owner,
    leg.needs, leg.quote, leg.account, leg.switch, leg.reserved, leg.facts, leg.pieces)
end

-- What the operation of a live leg is answered: its reply, in 27 bytes, and that it is no repeat.
local function answer_of(reason, granted, final, balance, reserved)
  return to_bytes('>BBBI4BBBi8Bi8B', 0, reason, 206, granted, final, 0, 211, balance, 211, reserved, 0)
end

-- What a leg begins with up to its last piece's amount: what an extension changes.
local function extended_head(n, reply, granted, final, seen, leased, to, amount)
  return to_bytes('>BBI4Bc27BI4BBi8Bi8BI4Bi8', 2, 206, n, 187, reply, 206, granted, final, 211, seen, 211, leased, 206, to, 211,
    amount)
end

-- Until when the leg's leases are to be taken: as they are while they outlast by a good while what is paid ahead.
local function lease_of(leased, now, elapsed_s, granted)
  local paid_s = granted > elapsed_s and granted - elapsed_s or 0
  if leased >= now + paid_s * 1000 + LEASE_LEAST_MS then return leased end
  return now + granted * 1000 + LEASE_MARGIN_MS
end

-- The lease sets are the keys from `first` to `last`.
local function renew_leases(keys, first, last, leased, leg_id)
  local expiry = digits(leased)
  for i = first, last do call('ZADD', keys[i], expiry, leg_id) end
end

-- The leg's numbers: n, granted, final, seen, leased, to, amount, count of pieces, answered, exempt, draws, where its facts
-- begin. Nothing when the leg is not live, or not in the form in which it can be changed in place.
local function leg_numbers(text)
  if byte(text) ~= 2 or #text <= LEG_BYTES then return end
  local first, granted, final, seen, leased, to, amount, count, answered, exempt, draws, last, facts =
    of_bytes('>BI4Bxi8xi8xI4xi8Bxi8BBBI4', text, 35)
  if first ~= 206 or last ~= 206 or count > 126 then return end
  return of_bytes('>I4', text, 3), granted, final, seen, leased, to, amount, count, answered, exempt, draws, facts
end
