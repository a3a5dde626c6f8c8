package redis

import (
	"context"
	_ "embed" // the scripts
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"sipvigil/store"
)

// A node that runs holds a lease, which it renews. Whose lease has expired does
// not run any more, or must behave as if: others adopt its calls.
const (
	// LeaseTime is how long a lease lasts at Redis after it was renewed.
	LeaseTime = 9 * time.Second
	// LeaseUse is how long a node may rely on its lease after it began to renew
	// it. The rest is for clocks that differ and for a failover that loses
	// the last renewals.
	LeaseUse = 7 * time.Second

	fenceTime = 24 * time.Hour // no adoption takes as long
	nodeKept  = 24 * time.Hour // a node that is gone is remembered for so long
)

//go:embed script/lease.lua
var leaseSource string

//go:embed script/leave.lua
var leaveSource string

//go:embed script/fence.lua
var fenceSource string

var (
	leaseScript = goredis.NewScript(leaseSource)
	leaveScript = goredis.NewScript(leaveSource)
	fenceScript = goredis.NewScript(fenceSource)
)

// Leased is what became of a lease that was to be renewed.
type Leased string

// The values of Leased.
const (
	LeaseKept  Leased = "kept"  // it had not expired
	LeaseNew   Leased = "new"   // nobody had it, or an earlier run of this node: the calls may be others' by now
	LeaseTaken Leased = "taken" // a later run of a node of this name has it
)

// Renew takes or renews the lease of this node, which is described by n, or
// returns store.ErrUnavailable.
func (s *Store) Renew(ctx context.Context, n store.Node) (Leased, error) {
	s.mu.Lock()
	told := strings.Join(s.told, " ")
	s.mu.Unlock()
	word, err := leaseScript.Run(ctx, s.client, []string{s.keys.lease(n.Name)}, n.Epoch, LeaseTime.Milliseconds(), "told", told,
		"state", string(n.State), "since", n.Since.UTC().Format(instant), "seen", n.Seen.UTC().Format(instant),
		"calls", n.Calls, "addr", n.Addr, "per_second", n.Tally.PerSecond, "live", n.Tally.Live, "suspect", n.Tally.Suspect,
		"unproven", n.Tally.Unproven, "held", n.Tally.Held, "reclaimed", n.Tally.Reclaimed, "doing", doing(n.Doing)).Text()
	if err == nil && word != string(LeaseTaken) {
		// Two renewals that a failover loses are more than the lease allows for.
		err = s.replicated(ctx, slices.Values([]string{s.keys.lease(n.Name)}))
	}
	if err == nil && word != string(LeaseTaken) {
		err = s.client.ZAdd(ctx, s.keys.nodes(), goredis.Z{Score: float64(n.Seen.UnixMilli()), Member: n.Name}).Err()
	}
	if err != nil {
		return "", s.unavailable("renew the lease", err)
	}
	return Leased(word), nil
}

// doing is what a node does as its lease has it, "" for nothing.
func doing(list []store.Progress) string {
	if len(list) == 0 {
		return ""
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // plain records always encode
	}
	return string(text)
}

// Leave has Run give up the lease when it ends, after all is written: then the
// calls of this node are free at once.
func (s *Store) Leave(epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = epoch
}

// leave is called by Run when nothing is written any more.
func (s *Store) leave(ctx context.Context) {
	s.mu.Lock()
	epoch := s.leaving
	s.mu.Unlock()
	if epoch == 0 || s.unwritten() {
		return // others adopt what they know when the lease has expired
	}
	err := leaveScript.Run(ctx, s.client, []string{s.keys.lease(s.cfg.Node)}, epoch, nodeKept.Milliseconds()).Err()
	if err != nil {
		s.log.Warn("lease was not given up, others wait until it expires", zap.Error(err))
	}
}

// Nodes returns the nodes that hold a lease or did within a day, in the order of
// their names, or store.ErrUnavailable.
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	var nodes []store.Node
	err := s.leases(ctx, func(n store.Node, _ map[string]string) { nodes = append(nodes, n) })
	if err != nil {
		return nil, s.unavailable("list nodes", err)
	}
	return sorted(nodes), nil
}

// leases yields the nodes that hold a lease or did within a day, each with the
// fields of its lease, none where it is over.
func (s *Store) leases(ctx context.Context, yield func(n store.Node, lease map[string]string)) error {
	oldest := strconv.FormatInt(time.Now().Add(-nodeKept).UnixMilli(), 10)
	pipe := s.client.Pipeline()
	pipe.ZRemRangeByScore(ctx, s.keys.nodes(), "-inf", "("+oldest)
	seen := pipe.ZRangeWithScores(ctx, s.keys.nodes(), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	pipe = s.client.Pipeline()
	var nodes []store.Node
	var leases []*goredis.MapStringStringCmd
	for _, z := range seen.Val() {
		name, _ := z.Member.(string)
		nodes = append(nodes, store.Node{Name: name, State: store.NodeDead, Seen: time.UnixMilli(int64(z.Score)).UTC()})
		leases = append(leases, pipe.HGetAll(ctx, s.keys.lease(name)))
	}
	if len(nodes) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, lease := range leases {
		if hash := lease.Val(); len(hash) > 0 {
			describe(&nodes[i], hash)
		}
		yield(nodes[i], lease.Val())
	}
	return nil
}

// Forget takes a node that is gone off the list. It returns
// store.ErrUnavailable.
func (s *Store) Forget(ctx context.Context, node string) error {
	if err := s.client.ZRem(ctx, s.keys.nodes(), node).Err(); err != nil {
		return s.unavailable("forget node "+node, err)
	}
	return nil
}

// describe fills a node from its lease. What cannot be read is left out: only
// that there is a lease decides anything.
func describe(n *store.Node, hash map[string]string) {
	n.State = store.NodeState(hash["state"])
	n.Epoch, _ = strconv.ParseInt(hash["epoch"], 10, 64)
	n.Calls, _ = strconv.Atoi(hash["calls"])
	n.Since, _ = time.Parse(instant, hash["since"])
	n.Addr = hash["addr"]
	n.Tally.PerSecond, _ = strconv.ParseFloat(hash["per_second"], 64)
	for name, to := range map[string]*int{"live": &n.Tally.Live, "suspect": &n.Tally.Suspect, "unproven": &n.Tally.Unproven,
		"held": &n.Tally.Held, "reclaimed": &n.Tally.Reclaimed} {
		*to, _ = strconv.Atoi(hash[name])
	}
	if text := hash["doing"]; text != "" && n.Live() {
		_ = json.Unmarshal([]byte(text), &n.Doing)
	}
}

// Fence has every adoption of calls of this node fail that began before epoch
// was taken. What is not adopted when it returns stays with this node as long as
// its lease does. It returns store.ErrUnavailable.
func (s *Store) Fence(ctx context.Context, epoch int64) error {
	err := s.scripted(ctx, func(pipe goredis.Pipeliner) {
		for n := range shards {
			pipe.EvalSha(ctx, fenceScript.Hash(), []string{s.keys.fence(shard(n), s.cfg.Node)}, epoch, fenceTime.Milliseconds())
		}
	})
	if err != nil {
		return s.unavailable("fence the calls of "+s.cfg.Node, err)
	}
	err = s.replicated(ctx, func(yield func(string) bool) {
		for i := range shards {
			if !yield(s.keys.active(shard(i))) {
				return
			}
		}
	})
	if err != nil {
		return s.unavailable("wait for replicas", err)
	}
	return nil
}

// Lost returns which of these calls, by id and with the epoch that this process
// has them under, somebody else owns by now, and which ones the store has under
// an earlier epoch: it has lost writes. It returns store.ErrUnavailable.
func (s *Store) Lost(ctx context.Context, held map[string]int64) (lost, behind []string, err error) {
	for part := range chunks(held, readSize) {
		pipe := s.client.Pipeline()
		replies := make([]*goredis.SliceCmd, len(part))
		for i, id := range part {
			replies[i] = pipe.HMGet(ctx, s.keys.call(id), "node", "epoch")
		}
		_, _ = pipe.Exec(ctx) // each reply has its own error
		for i, id := range part {
			values, err := replies[i].Result()
			if err != nil && goredis.HasErrorPrefix(err, "WRONGTYPE") {
				continue // nobody owns what is no call
			}
			if err != nil {
				return nil, nil, s.unavailable("look who owns calls", err)
			}
			node, known := values[0].(string)
			text, _ := values[1].(string)
			epoch, _ := strconv.ParseInt(text, 10, 64)
			switch {
			case !known || epoch == held[id] && node == s.cfg.Node:
			case epoch < held[id]:
				behind = append(behind, id)
			default:
				lost = append(lost, id)
			}
		}
	}
	return lost, behind, nil
}

// scripted runs a pipeline of scripts, once more after loading them when a
// server does not know them: they may be run twice.
func (s *Store) scripted(ctx context.Context, fill func(goredis.Pipeliner)) error {
	for first := true; ; first = false {
		pipe := s.client.Pipeline()
		fill(pipe)
		replies, err := pipe.Exec(ctx)
		if err == nil || !first {
			return err
		}
		for _, reply := range replies {
			if err = reply.Err(); err != nil && !goredis.HasErrorPrefix(err, "NOSCRIPT") {
				return err
			}
		}
		if err := s.masters(ctx, s.loadInto); err != nil {
			return err
		}
	}
}
