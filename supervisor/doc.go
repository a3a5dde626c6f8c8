// Package supervisor knows whether each call is still alive. It asks both legs
// of a confirmed call from time to time, weighs what comes back and what the
// far ends show by themselves, decides, and has a dead call ended.
//
// It sends nothing by itself and knows no SIP message: whoever speaks SIP
// implements Legs and tells a Supervisor what happens through its methods
// Started, Confirmed, Evidence, Answered, Calibrated, Disturbed, Ending and
// Ended.
//
// schedule.go says whose turn it is to be asked, and what follows from an
// answer. The judgement itself is pure: verdict.go says what one answer means,
// leg.go what a leg is after it, brake.go whether silence may end calls now.
//
// A leg at rest costs one record and one place in the schedule: no goroutine,
// no timer. Everything that reaches beyond the package, a probe, a release, a
// write to the store, is done by the goroutine of Run (or by the caller of an
// API method) and never under the lock.
package supervisor
