// Package nap waits for a known time, for less than a timer of the runtime costs
// a process that is mostly at rest.
//
// For such a timer the runtime wakes its monitor thread, which looks once more
// ten milliseconds later, the thread that polls, a millisecond early and then in
// time, and a second one that finds nothing to do. A timer of the kernel wakes
// the one thread that has something to do.
package nap
