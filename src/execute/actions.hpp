// The descriptors of all actions, for the table. One line each; the files in actions/ define them.
#pragma once

#include "nexus/execute/step.hpp"

namespace nexus::execute {

extern const ActionDescriptor kAdjustAutoscaler;
extern const ActionDescriptor kAdjustMemory;
extern const ActionDescriptor kAdjustQuota;
extern const ActionDescriptor kAdjustResources;
extern const ActionDescriptor kCleanupDisk;
extern const ActionDescriptor kClearCache;
extern const ActionDescriptor kComposite;
extern const ActionDescriptor kCordonNode;
extern const ActionDescriptor kDeletePod;
extern const ActionDescriptor kDisableService;
extern const ActionDescriptor kDrainNode;
extern const ActionDescriptor kDropCaches;
extern const ActionDescriptor kEnableService;
extern const ActionDescriptor kHttpRequest;
extern const ActionDescriptor kKillProcess;
extern const ActionDescriptor kNetworkOptimization;
extern const ActionDescriptor kNotify;
extern const ActionDescriptor kOptimizeDatabase;
extern const ActionDescriptor kPerformanceTuning;
extern const ActionDescriptor kPruneDocker;
extern const ActionDescriptor kReloadService;
extern const ActionDescriptor kReniceProcess;
extern const ActionDescriptor kResetService;
extern const ActionDescriptor kRestartService;
extern const ActionDescriptor kRollbackDeployment;
extern const ActionDescriptor kRollingUpdate;
extern const ActionDescriptor kRotateLogs;
extern const ActionDescriptor kRunCommand;
extern const ActionDescriptor kScaleService;
extern const ActionDescriptor kStartService;
extern const ActionDescriptor kStopService;
extern const ActionDescriptor kUncordonNode;
extern const ActionDescriptor kUndoAction;

}  // namespace nexus::execute
