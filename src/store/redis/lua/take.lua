-- One customer's record, if she has no unread inputs. ARGV: epoch id. Nothing is written: who is out is
-- known by the shard's owner.
for item = 1, items do
  local p = prefix(KEYS[item])
  local epoch, id = arg(), arg()
  if not mine(KEYS[item], epoch) or call('LLEN', p .. 'inbox:' .. id) > 0 then
    replies[item] = false
  else
    local kept = call('MGET', p .. 'customer:' .. id, p .. 'account:' .. id)
    local gone = 0
    if not kept[1] then gone = call('SISMEMBER', p .. 'erased', string.sub(redis.sha1hex(id), 1, 14)) end
    replies[item] = {kept[1] or '', kept[2] or '', gone, call('ZSCORE', p .. 'wake', id) or ''}
  end
end
return {now_text, replies, heard}
