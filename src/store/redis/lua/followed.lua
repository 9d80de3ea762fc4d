-- A read side has followed a shard up to a place; what every read side has followed is dropped.
-- ARGV: read-side place.
local function parts(place)
  local ms, seq = string.match(place, '^(%d+)-(%d+)$')
  return tonumber(ms or 0), tonumber(seq or 0)
end
local function before(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am < bm or (am == bm and as < bs)
end
for item = 1, items do
  local p = prefix(KEYS[item])
  local side, place = arg(), arg()
  call('HSET', p .. 'followed', side, place)
  local least = place
  local rows = call('HGETALL', p .. 'followed')
  for i = 1, #rows, 2 do
    if before(rows[i + 1], least) then least = rows[i + 1] end
  end
  local ms, seq = parts(least)
  call('XTRIM', p .. 'facts', 'MINID', number(ms) .. '-' .. number(seq + 1))
  replies[item] = 1
end
return {now_text, replies, heard}
