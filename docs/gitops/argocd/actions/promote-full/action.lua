-- The order names its revision, so it can never reach a later one. The same value acts once: count up to give it again.
local annotation = "modelendpoint.dev/promote-full"
local revision = string.format("%d", (obj.status.candidate or obj.status.stable).revision)

local annotations = obj.metadata.annotations or {}
local named, count = string.match(annotations[annotation] or "", "^(%d+)/?(%d*)$")
if named == revision then
  revision = string.format("%s/%d", revision, (tonumber(count) or 1) + 1)
end
annotations[annotation] = revision
obj.metadata.annotations = annotations
return obj
