local status = obj.status or {}
local rollout = status.rollout or {}
local rolling = status.rollout ~= nil and status.candidate ~= nil
local baking = rollout.phase == "Baking"
local paused = rolling and rollout.phase == "Paused"
local by_person = rolling and rollout.heldBy == "person"
local waits = rolling and (rollout.phase == "Holding" or rollout.phase == "Deploying") and rollout.heldBy == nil
local rejected = status.rejected ~= nil and #status.rejected > 0
local earlier = status.history ~= nil and #status.history > 1 and not rolling and status.rolledBackTo == nil

local function action(enabled, name, icon)
  return {disabled = not enabled, displayName = name, iconClass = "fa fa-fw " .. icon}
end

return {
  ["promote"] = action(paused or by_person, "Promote the candidate", "fa-forward"),
  ["promote-full"] = action(rolling or baking, "Promote in full, without the steps and gates left", "fa-fast-forward"),
  ["pause"] = action(waits, "Pause the rollout", "fa-pause"),
  ["resume"] = action(by_person, "Resume the rollout", "fa-play"),
  ["abort"] = action(rolling, "Abort the rollout", "fa-times-circle"),
  ["retry"] = action(rejected, "Retry the rejected revision", "fa-redo"),
  ["rollback-to"] = action(earlier, "Roll back to the previous revision", "fa-undo"),
}
