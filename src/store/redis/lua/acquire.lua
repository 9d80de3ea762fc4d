-- Takes shards that nobody owns. KEYS: lease crashes wake ready outbox. ARGV: lease-ms. Replies: the epoch,
-- the earliest of each index and the crash counters, or false while another owns it.
while at_key < #KEYS do
  local lease, crashes, wake, ready, outbox, head = key(), key(), key(), key(), key(), key()
  local term = tonumber(arg())
  local kept = call('HMGET', lease, 'w', 'u')
  local owner, until_ms = kept[1] or '', tonumber(kept[2] or 0)
  if owner ~= '' and owner ~= me and until_ms > now then
    replies[#replies + 1] = false
  else
    local epoch = call('HINCRBY', lease, 'e', 1)
    call('HSET', lease, 'w', me, 'u', number(now + term))
    local function first(index) return call('ZRANGE', index, 0, 0, 'WITHSCORES')[2] or '' end
    replies[#replies + 1] = {number(epoch), first(wake), first(ready), first(outbox),
      call('HGET', head, 's') or '0', call('HGETALL', crashes)}
  end
end
return {number(now), replies}
