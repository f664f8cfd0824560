-- Adds an entry to the audit stream, and does nothing else.
--
-- KEYS  1 audit stream  2 audit head
-- ARGV  1… audit entry, see shared.lua
--
-- Returns {"noted"} or {"audit moved"}.

if audit_moved(KEYS[2], 1) then
  return {'audit moved'}
end
append_audit(KEYS[1], KEYS[2], 1)
return {'noted'}
