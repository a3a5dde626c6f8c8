package redis

import (
	"fmt"
	"hash/fnv"
)

// shards is how many hash tags the calls are spread over.
const shards = 256

// keys names what the store keeps in Redis.
type keys struct{ prefix string }

func (k keys) tagKey() string { return k.prefix + ":tagkey" }
func (k keys) cdr() string    { return k.prefix + ":cdr" }

// recorded is the number of the last record that the stream has of a process: in
// the same slot as the stream.
func (k keys) recorded(process string) string { return "{" + k.cdr() + "}:" + process }

func (k keys) epoch() string { return k.prefix + ":epoch" }

// maintenance is the hash of what takes no new calls.
func (k keys) maintenance() string { return k.prefix + ":maintenance" }

// nodes is the set of nodes, by when they were last seen.
func (k keys) nodes() string { return k.prefix + ":nodes" }

// lease is the hash that stands while a node renews it.
func (k keys) lease(node string) string { return k.prefix + ":node:" + node }

// fence is the epoch up to which the calls of a node in a shard are closed to
// adoption.
func (k keys) fence(shard, node string) string { return k.in(shard, ":fence:", node) }

// call is the hash of one call, which has what is short.
func (k keys) call(id string) string { return k.callIn(shardOf(id), id) }

func (k keys) callIn(shard, id string) string { return k.in(shard, ":call:", id) }

// text is what is long of one call, a string.
func (k keys) text(id string) string { return k.textIn(shardOf(id), id) }

func (k keys) textIn(shard, id string) string { return k.in(shard, ":text:", id) }

// active is the set of calls of a shard that go on.
func (k keys) active(shard string) string { return k.in(shard, ":active", "") }

// node is the set of calls of a shard that a node owns.
func (k keys) node(shard, node string) string { return k.in(shard, ":node:", node) }

// life is the name of what the master of a shard has.
func (k keys) life(shard string) string { return k.in(shard, ":life", "") }

// in is a key of a shard: what is in braces alone says which slot it is in.
func (k keys) in(shard, what, name string) string {
	return "{" + k.prefix + ":" + shard + "}" + what + name
}

// shardOf is the shard that a call belongs to: the last two digits of its UUID,
// which are random. Other ids are spread by a hash.
func shardOf(id string) string {
	if n := len(id); n >= 2 && isHex(id[n-2]) && isHex(id[n-1]) {
		return id[n-2:]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return shard(int(h.Sum32() % shards))
}

// shard is the name of the nth shard.
func shard(n int) string { return fmt.Sprintf("%02x", n) }

func isHex(b byte) bool { return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' }
