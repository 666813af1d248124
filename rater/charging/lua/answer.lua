-- Write down when the leg was answered, and on which channel it runs.
-- KEYS  1 leg  2 epoch of the switch
-- ARGV  1 msgpack {number, epoch, now_ms, answered_at_ms, facts}
-- Returns a reply, see _lib.lua.
local a = cmsgpack.unpack(ARGV[1])
local leg = load(KEYS[1])
if not leg or leg.z then return {GONE, 0, 0, 0, 0, 0, 0, 0} end
if leg.n >= a[1] then return {OK, 0, leg.g, leg.f, 0, 0, 0, 1} end
if stale(KEYS[2], a[2]) then return {STALE, 0, 0, 0, 0, 0, 0, 0} end
leg.n, leg.s, leg.h, leg.i = a[1], a[3], a[4], a[5]
leg.y = {OK, 0, leg.g, leg.f, 0, 0, 0, 0}
keep(KEYS[1], leg, LEG_KEPT_MS)
return leg.y
