-- Customers of a shard with a due wake or inputs. ARGV: epoch most lease-ms inputs-most. What is handed out
-- moves to the end of its lease; the half says that it was handed out.
local edge = now_text .. '.5'

-- Those who are handed out, and the keys of their records and accounts.
local found, keys = {}, {}
local function take(p, id, wake_at, ready_at, inputs_most)
  local inputs = {}
  if ready_at ~= '' then inputs = call('LRANGE', p .. 'inbox:' .. id, '0', inputs_most) end
  local row = {id, wake_at, ready_at, '', '', 0, inputs}
  found[#found + 1] = row
  keys[#keys + 1] = p .. 'customer:' .. id
  keys[#keys + 1] = p .. 'account:' .. id
  return row
end

-- Moves to the end of the lease, in portions that the stack of a call takes.
local function move(index, back, ids)
  for from = 1, #ids, 500 do
    local add = {}
    for i = from, math.min(from + 499, #ids) do
      add[#add + 1] = back
      add[#add + 1] = ids[i]
    end
    call('ZADD', index, unpack(add))
  end
end

for item = 1, items do
  local lease = KEYS[item]
  local epoch, most, term, inputs_most = arg(), tonumber(arg()), tonumber(arg()), arg()
  if not mine(lease, epoch) then
    replies[item] = false
  else
    local p, out, back = prefix(lease), {}, number(now + term) .. '.5'
    local ready, wake = p .. 'ready', p .. 'wake'
    if most ~= 0 then
      local due, awake, waiting = call('ZRANGEBYSCORE', wake, '-inf', edge, 'WITHSCORES', 'LIMIT', '0', number(most)), {}, {}
      for i = 1, #due, 2 do
        local id = due[i]
        local ready_at = call('ZSCORE', ready, id)
        awake[#awake + 1] = id
        if ready_at then waiting[#waiting + 1] = id end
        out[#out + 1] = take(p, id, due[i + 1], ready_at or '', inputs_most)
      end
      move(wake, back, awake)
      move(ready, back, waiting)
      local left = most - #awake
      if left > 0 then
        local rows = call('ZRANGEBYSCORE', ready, '-inf', edge, 'WITHSCORES', 'LIMIT', '0', number(left))
        waiting = {}
        for i = 1, #rows, 2 do
          waiting[#waiting + 1] = rows[i]
          out[#out + 1] = take(p, rows[i], '', rows[i + 1], inputs_most)
        end
        move(ready, back, waiting)
      end
    end
    replies[item] = {
      call('ZRANGE', wake, '0', '0', 'WITHSCORES')[2] or '', call('ZRANGE', ready, '0', '0', 'WITHSCORES')[2] or '', out,
    }
  end
end

for from = 1, #keys, 500 do
  local kept = call('MGET', unpack(keys, from, math.min(from + 499, #keys)))
  for i = 1, #kept, 2 do
    local row = found[(from + i) / 2]
    row[4], row[5] = kept[i] or '', kept[i + 1] or ''
    if not kept[i] then
      row[6] = call('SISMEMBER', string.match(keys[from + i - 1], '^af:{%d+}:') .. 'erased', string.sub(redis.sha1hex(row[1]), 1, 14))
    end
  end
end
return {now_text, replies, heard}
