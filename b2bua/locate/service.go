package locate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of the records of a name that are followed.
const (
	maxPointers = 4 // NAPTR: there are three transports
	maxServers  = 16
)

// services finds the servers of a domain by NAPTR and SRV, RFC 3263 section
// 4.1. There are none without an error when the domain has no such records.
//
// A server that answers such a question with an error is taken for one that has
// no such records: some know only addresses.
func (s *search) services(name string) ([]Hop, error) {
	if s.open {
		hops, err := s.pointers(name)
		if err != nil || len(hops) > 0 {
			return hops, err
		}
	}
	var hops []Hop
	var faults []error
	for _, t := range s.transports {
		some, err := s.servers(serviceName(t)+name, t)
		if errors.Is(err, errSilent) || errors.Is(err, errUnknown) {
			return nil, err
		}
		hops = append(hops, some...)
		faults = append(faults, err)
	}
	if len(hops) > 0 {
		return hops, nil
	}
	return nil, errors.Join(faults...)
}

// serviceName is where a transport's SRV records are, RFC 3263 section 4.2.
func serviceName(transport string) string {
	if transport == "tls" {
		return "_sips._tcp."
	}
	return "_sip._" + transport + "."
}

// services of NAPTR records, RFC 3263 section 4.1.
var pointed = map[string]string{"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}

// pointers follows the domain's NAPTR records. The lowest order that leads to a
// server decides, RFC 3403 section 4.1; within it all are used by preference.
func (s *search) pointers(name string) ([]Hop, error) {
	rrs, err := s.lookup(question{name, typeNAPTR})
	if errors.Is(err, errSilent) || errors.Is(err, errUnknown) {
		return nil, err
	}
	usable := slices.DeleteFunc(slices.Clone(rrs), func(p rr) bool {
		return !strings.EqualFold(p.flags, "s") || p.regexp != "" ||
			!slices.Contains(s.transports, pointed[strings.ToUpper(p.service)])
	})
	slices.SortStableFunc(usable, func(a, b rr) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.preference, b.preference))
	})
	var hops []Hop
	for i, p := range usable[:min(len(usable), maxPointers)] {
		if len(hops) > 0 && p.order != usable[i-1].order {
			break
		}
		some, err := s.servers(p.target, pointed[strings.ToUpper(p.service)])
		if errors.Is(err, errSilent) || errors.Is(err, errUnknown) {
			return nil, err
		}
		hops = append(hops, some...)
	}
	return hops, nil
}

// servers finds the addresses behind SRV records, in their order. An error
// other than errSilent and errUnknown says that there are records, but no
// server behind them.
func (s *search) servers(service, transport string) ([]Hop, error) {
	rrs, err := s.lookup(question{service, typeSRV})
	if errors.Is(err, errSilent) || errors.Is(err, errUnknown) {
		return nil, err
	}
	if len(rrs) == 0 {
		return nil, nil
	}
	if len(rrs) == 1 && rrs[0].target == "" { // RFC 2782: decidedly not available
		return nil, fmt.Errorf("%s says that there is no such service", service)
	}
	rrs = arrange(rrs, s.draw)
	rrs = slices.DeleteFunc(rrs, func(v rr) bool { return v.target == "" || v.port == 0 })
	rrs = rrs[:min(len(rrs), maxServers)]
	found := make([][]Hop, len(rrs))
	faults := make([]error, len(rrs))
	parallel(len(rrs), func(i int) {
		found[i], faults[i] = s.addresses(rrs[i].target, transport, int(rrs[i].port))
	})
	if hops := slices.Concat(found...); len(hops) > 0 {
		return hops, nil
	}
	return nil, fmt.Errorf("no server of %s has an address: %w", service, errors.Join(faults...))
}

// arrange puts SRV records into the order in which they are to be tried: by
// priority, and within it at random by weight, RFC 2782 page 4.
func arrange(rrs []rr, draw func(n int) int) []rr {
	rest := slices.Clone(rrs)
	slices.SortStableFunc(rest, func(a, b rr) int {
		// Those without weight stand first, so that they are seldom drawn.
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(min(a.weight, 1), min(b.weight, 1)))
	})
	ordered := make([]rr, 0, len(rest))
	for len(rest) > 0 {
		same, sum := 0, 0
		for same < len(rest) && rest[same].priority == rest[0].priority {
			sum += int(rest[same].weight)
			same++
		}
		drawn, at := draw(sum+1), 0
		for run := int(rest[0].weight); run < drawn && at < same-1; run += int(rest[at].weight) {
			at++
		}
		ordered = append(ordered, rest[at])
		rest = slices.Delete(rest, at, at+1)
	}
	return ordered
}
