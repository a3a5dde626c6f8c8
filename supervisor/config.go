package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config says how calls are supervised.
type Config struct {
	Node        string            // this process, as in the records of its calls
	Interval    time.Duration     // from the last evidence of a leg to its next probe; 0 = no probes
	Jitter      float64           // Interval varies by this share of it, 0 to 1
	Timeout     time.Duration     // how long a probe waits for its answer
	Misses      int               // probes missed in a row that make a leg silent
	Method      Method            // what to ask with
	Policy      Policy            // what answers mean
	Action      Action            // what follows when a leg is found dead
	Trunks      map[string]Action // the same for single trunks, "" for Action; all trunks that there are
	MaxDuration time.Duration     // from the answer on, 0 = a call may last for ever
	Record      func(*CDR)        // takes that of each call that ends, may keep it, and returns at once; may be nil
	May         func() bool       // whether this node is sure to own its calls now; while it is not, nobody is asked and nothing ends; nil = always
	Doubt       Doubting          // asks a trunk itself while a call behind it is silent; nil = nobody can
	Brake       Brake             // when silence ends no calls
	Rate        int               // probes a second at most
	Keep        time.Duration     // how long ended calls are remembered
	KeepCalls   int               // and how many of them at most
}

// Default is the Config of a supervisor about which nothing else was said. Its
// Node is empty.
func Default() Config {
	return Config{
		Interval:  30 * time.Second,
		Jitter:    0.1,
		Timeout:   32 * time.Second,
		Misses:    2,
		Method:    Auto,
		Policy:    RFC3261,
		Action:    Hangup,
		Brake:     Brake{Share: 0.2, Floor: 10, PerMinute: 0.01},
		Rate:      20000,
		Keep:      10 * time.Minute,
		KeepCalls: 1000,
	}
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(c.Node != "", "node must not be empty")
	check(c.Interval >= 0, "interval must not be negative, is %v", c.Interval)
	check(c.Jitter >= 0 && c.Jitter <= 1, "jitter must be between 0 and 1, is %v", c.Jitter)
	check(c.Timeout > 0, "timeout must be positive, is %v", c.Timeout)
	check(c.Misses >= 1, "misses must be at least 1, is %d", c.Misses)
	check(slices.Contains([]Method{Auto, Options, Update, Reinvite}, c.Method), "method must be auto, options, update or reinvite, is %q", c.Method)
	check(c.Policy == RFC3261 || c.Policy == RFC5057, "policy must be rfc3261 or rfc5057, is %q", c.Policy)
	check(c.Action == Hangup || c.Action == Observe, "action must be hangup or observe, is %q", c.Action)
	for trunk, a := range c.Trunks {
		check(a == "" || a == Hangup || a == Observe, "action of trunk %s must be hangup or observe, is %q", trunk, a)
	}
	check(c.MaxDuration >= 0, "max duration must not be negative, is %v", c.MaxDuration)
	check(c.Brake.Share > 0 && c.Brake.Share <= 1, "share of the brake must be above 0 and at most 1, is %v", c.Brake.Share)
	check(c.Brake.Floor >= 1, "floor of the brake must be at least 1, is %d", c.Brake.Floor)
	check(c.Brake.PerMinute >= 0 && c.Brake.PerMinute <= 1, "share per minute of the brake must be between 0 and 1, is %v", c.Brake.PerMinute)
	check(c.Rate >= 1, "rate must be at least 1, is %d", c.Rate)
	check(c.Keep >= 0, "keep must not be negative, is %v", c.Keep)
	check(c.KeepCalls >= 0, "keep calls must not be negative, is %d", c.KeepCalls)
	return errors.Join(faults...)
}

// period is the time between two turns of a leg: Interval, or what it would be
// if there were probes.
func (c Config) period() time.Duration {
	if c.Interval == 0 {
		return Default().Interval
	}
	return c.Interval
}
