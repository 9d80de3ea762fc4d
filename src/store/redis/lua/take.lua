-- One customer's record, if she has no unread inputs. KEYS: lease record account inbox wake erased.
-- ARGV: epoch id. Nothing is written: who is out is known by the shard's owner.
while at_key < #KEYS do
  local lease, record, account, inbox, wake, erased = key(), key(), key(), key(), key(), key()
  local epoch, id = arg(), arg()
  if not mine(lease, epoch) or call('LLEN', inbox) > 0 then
    replies[#replies + 1] = false
  else
    local kept = call('GET', record)
    local gone = 0
    if not kept then gone = call('SISMEMBER', erased, redis.sha1hex(id)) end
    replies[#replies + 1] = {kept or '', call('GET', account) or '', gone, call('ZSCORE', wake, id) or ''}
  end
end
return {number(now), replies}
