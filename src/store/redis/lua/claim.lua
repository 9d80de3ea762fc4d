-- Customers of a shard with a due wake or inputs. KEYS: lease ready wake. ARGV: prefix epoch most lease-ms
-- inputs-most. What is handed out moves to the end of its lease; the half says that it was handed out.
while at_key < #KEYS do
  local lease, ready, wake = key(), key(), key()
  local prefix, epoch, most, term, inputs_most = arg(), arg(), tonumber(arg()), tonumber(arg()), arg()
  if not mine(lease, epoch) then
    replies[#replies + 1] = false
  else
    local out, back = {}, number(now + term) .. '.5'
    local function take(id, wake_at, ready_at)
      local record = call('GET', prefix .. 'customer:' .. id)
      local erased = 0
      if not record then erased = call('SISMEMBER', prefix .. 'erased', redis.sha1hex(id)) end
      out[#out + 1] = {
        id, wake_at, ready_at, record or '', call('GET', prefix .. 'account:' .. id) or '', erased,
        call('LRANGE', prefix .. 'inbox:' .. id, 0, inputs_most),
      }
    end
    local due = call('ZRANGEBYSCORE', wake, '-inf', number(now) .. '.5', 'WITHSCORES', 'LIMIT', 0, most)
    for i = 1, #due, 2 do
      local id = due[i]
      local ready_at = call('ZSCORE', ready, id)
      call('ZADD', wake, back, id)
      if ready_at then call('ZADD', ready, back, id) end
      take(id, due[i + 1], ready_at or '')
    end
    local left = most - #due / 2
    if left > 0 then
      local waiting = call('ZRANGEBYSCORE', ready, '-inf', number(now) .. '.5', 'WITHSCORES', 'LIMIT', 0, left)
      for i = 1, #waiting, 2 do
        local id = waiting[i]
        call('ZADD', ready, back, id)
        take(id, '', waiting[i + 1])
      end
    end
    local next_wake, next_ready = call('ZRANGE', wake, 0, 0, 'WITHSCORES'), call('ZRANGE', ready, 0, 0, 'WITHSCORES')
    replies[#replies + 1] = {next_wake[2] or '', next_ready[2] or '', out}
  end
end
return {number(now), replies}
