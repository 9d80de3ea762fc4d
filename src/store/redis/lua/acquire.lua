-- Takes shards that nobody owns. ARGV: lease-ms pauses. Replies: the epoch, the earliest of each index, the last
-- input's number and the crash counters, or false while another owns it.
for item = 1, items do
  local lease = KEYS[item]
  local p, term, pauses = prefix(lease), tonumber(arg()), arg()
  local kept = call('HMGET', lease, 'w', 'u')
  local owner, until_ms = kept[1] or '', tonumber(kept[2] or 0)
  if owner ~= '' and owner ~= me and until_ms > now then
    replies[item] = false
  else
    -- Never one that was given before, even when a fail-over has lost the last one.
    local epoch = number(math.max(tonumber(call('HGET', lease, 'e') or 0) + 1, now))
    call('HSET', lease, 'e', epoch, 'w', me, 'u', number(now + term))
    heed(lease, pauses)
    local function first(index) return call('ZRANGE', p .. index, '0', '0', 'WITHSCORES')[2] or '' end
    replies[item] = {
      epoch, first('wake'), first('ready'), first('outbox'), call('GET', p .. 'last') or '0',
      call('HGETALL', p .. 'crashes'),
    }
  end
end
return {now_text, replies, heard}
