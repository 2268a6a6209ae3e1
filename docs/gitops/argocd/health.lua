-- ModelEndpoint and BatchPrediction follow kstatus: observedGeneration, Ready, and Reconciling and Stalled only while they are true.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "Waiting for the operator to see the latest change"}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local stalled, reconciling, ready = conditions.Stalled, conditions.Reconciling, conditions.Ready

if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.message}
end
if reconciling ~= nil and reconciling.status == "True" then
  -- A step with `pause: true` waits for a person, who finds the next command in the message; so does `replicas: 0`.
  local waits = reconciling.reason == "Paused" or reconciling.reason == "Suspended"
  return {status = waits and "Suspended" or "Progressing", message = reconciling.message}
end
if ready ~= nil and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready ~= nil and ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Progressing", message = ready ~= nil and ready.message or "Waiting for the operator"}
