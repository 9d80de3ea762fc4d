-- Customers of a shard with a due wake or inputs. ARGV: epoch most lease-ms inputs-most. What is handed out
-- moves to the end of its lease; the half says that it was handed out.
local edge = now_text .. '.5'
for item = 1, items do
  local lease = KEYS[item]
  local epoch, most, term, inputs_most = arg(), tonumber(arg()), tonumber(arg()), arg()
  if not mine(lease, epoch) then
    replies[item] = false
  else
    local p, out, n, back = prefix(lease), {}, 0, number(now + term) .. '.5'
    local ready, wake = p .. 'ready', p .. 'wake'
    local function take(id, wake_at, ready_at)
      local kept = call('MGET', p .. 'customer:' .. id, p .. 'account:' .. id)
      local erased = 0
      if not kept[1] then erased = call('SISMEMBER', p .. 'erased', string.sub(redis.sha1hex(id), 1, 14)) end
      local inputs = {}
      if ready_at ~= '' then inputs = call('LRANGE', p .. 'inbox:' .. id, '0', inputs_most) end
      n = n + 1
      out[n] = {id, wake_at, ready_at, kept[1] or '', kept[2] or '', erased, inputs}
    end
    if most ~= 0 then
      local due = call('ZRANGEBYSCORE', wake, '-inf', edge, 'WITHSCORES', 'LIMIT', '0', number(most))
      for i = 1, #due, 2 do
        local id = due[i]
        local ready_at = call('ZSCORE', ready, id)
        call('ZADD', wake, back, id)
        if ready_at then call('ZADD', ready, back, id) end
        take(id, due[i + 1], ready_at or '')
      end
      local left = most - #due / 2
      if left > 0 then
        local waiting = call('ZRANGEBYSCORE', ready, '-inf', edge, 'WITHSCORES', 'LIMIT', '0', number(left))
        for i = 1, #waiting, 2 do
          call('ZADD', ready, back, waiting[i])
          take(waiting[i], '', waiting[i + 1])
        end
      end
    end
    replies[item] = {
      call('ZRANGE', wake, '0', '0', 'WITHSCORES')[2] or '', call('ZRANGE', ready, '0', '0', 'WITHSCORES')[2] or '', out,
    }
  end
end
return {now_text, replies, heard}
