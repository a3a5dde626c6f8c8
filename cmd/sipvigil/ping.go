package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sipvigil/b2bua/dialog"
	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/supervisor/web"
)

// pinging is a ping command as it was given.
type pinging struct {
	target   string
	count    int
	watch    bool // until the command is ended, instead of count
	interval time.Duration
	timeout  time.Duration
	format   string
	server   string // asks, "" for this process
	token    string // for that sipvigil, empty for none
}

func (t *tool) ping() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ping URI",
		Short: "Ask a SIP URI with OPTIONS whether it is there, and what it can do",
		Long: `Ask a SIP URI with OPTIONS whether it is there, and what it can do.

No running sipvigil is needed. With --server one is asked to send the OPTIONS,
from its address and with the credentials of its trunks.

The exit code is 0 when every OPTIONS was answered 200, 1 when another final
answer came, 2 when it could not be sent, 3 when one was not answered.`,
		Args: arguments(1, 1),
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	count := fs.IntP("count", "c", 1, "send `N` OPTIONS")
	watch := fs.Bool("watch", false, "send OPTIONS until Ctrl-C")
	interval := fs.DurationP("interval", "i", time.Second, "wait `D` from one to the next")
	timeout := fs.DurationP("timeout", "t", 5*time.Second, "wait `D` for an answer, at most 32s")
	transport := fs.String("transport", "", "`NAME`: udp, tcp or tls (default: what the URI says)")
	server := fs.String("server", "", "`URL` of a sipvigil that is to send them (default: this process does)")
	fs.String("token-file", "", "`FILE` that holds the token for that sipvigil (or the token itself in SIPVIGIL_TOKEN)")
	output := fs.StringP("output", "o", "table", "`FORMAT`: table, wide, json, jsonl or csv")
	complete(cmd, "transport", "udp", "tcp", "tls")
	complete(cmd, "output", formats...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p := &pinging{count: *count, watch: *watch, interval: *interval, timeout: *timeout, format: *output, server: *server}
		var err, tokenErr error
		p.target, err = pingTarget(args[0], *transport)
		p.token, tokenErr = t.token(cmd)
		if err := errors.Join(err, checkFormat(p.format), p.check(), tokenErr); err != nil {
			return usage(err)
		}
		return t.pings(cmd.Context(), p)
	}
	return cmd
}

func (p *pinging) check() error {
	var faults []error
	if p.count < 1 {
		faults = append(faults, fmt.Errorf("--count: %d is below 1", p.count))
	}
	if p.interval < 0 {
		faults = append(faults, fmt.Errorf("--interval: %v is below 0", p.interval))
	}
	if p.timeout < time.Millisecond || p.timeout > 32*time.Second {
		faults = append(faults, fmt.Errorf("--timeout: %v is not from 1ms to 32s, where SIP itself gives up", p.timeout))
	}
	return errors.Join(faults...)
}

// pingTarget is what is asked: the URI, which may be without its scheme, and an
// address without its brackets.
func pingTarget(s, transport string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		s = "[" + s + "]"
	}
	if !strings.HasPrefix(strings.ToLower(s), "sip:") {
		s = "sip:" + s
	}
	u, err := dialog.ParseURI(s)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%q is not a SIP URI such as sip:192.0.2.10:5060;transport=tcp", s)
	}
	if transport == "" {
		return s, nil
	}
	if !slices.Contains([]string{"udp", "tcp", "tls"}, transport) {
		return "", fmt.Errorf("--transport: %q is none of udp, tcp, tls", transport)
	}
	if had, ok := u.Param("transport"); ok && !strings.EqualFold(had, transport) {
		return "", fmt.Errorf("--transport: the URI says transport=%s", had)
	}
	if _, ok := u.Param("transport"); !ok {
		u.Params += ";transport=" + transport
	}
	return u.String(), nil
}

// pings sends them one after the other and prints what comes back.
func (t *tool) pings(ctx context.Context, p *pinging) error {
	var got []web.Pinged
	all := func(ctx context.Context, send func(context.Context) (web.Pinged, error)) error {
		for i := 0; p.watch || i < p.count; i++ {
			began := time.Now()
			one, err := send(ctx)
			if ctx.Err() != nil {
				break // nobody has waited for the answer
			}
			if err != nil {
				return err
			}
			got = append(got, one)
			if err := t.pinged(p.format, got); err != nil {
				return err
			}
			if (p.watch || i+1 < p.count) && !sleep(ctx, p.interval-time.Since(began)) {
				break
			}
		}
		return nil
	}
	var err error
	if p.server == "" {
		err = daemon.Pinging(ctx, func(ctx context.Context, pinger web.Pinger) error {
			return all(ctx, func(ctx context.Context) (web.Pinged, error) { return pinger.Ping(ctx, p.target, p.timeout), nil })
		})
	} else {
		err = p.through(ctx, all)
	}
	if exit := (exitError{}); err != nil && !errors.As(err, &exit) {
		err = usage(err)
	}
	if err != nil {
		return err
	}
	if len(got) == 0 {
		return exitError{exitNoAnswer, errors.New("ended before an answer came")}
	}
	if p.format == "table" || p.format == "wide" || p.format == "json" {
		r := reportPings(got)
		if err := r.print(t.stdout, p.format, t.terminal, t.now()); err != nil {
			return usage(fmt.Errorf("write: %w", err))
		}
	}
	return pinged(got)
}

// pinged prints the last of them as soon as it is known, where the format has a
// line for each.
func (t *tool) pinged(format string, all []web.Pinged) error {
	var err error
	switch last := all[len(all)-1:]; format {
	case "jsonl":
		r := reportPings(last)
		err = r.print(t.stdout, format, t.terminal, t.now())
	case "csv":
		r := reportPings(last)
		if len(all) > 1 {
			r.rows = r.rows[1:]
		}
		err = r.print(t.stdout, format, t.terminal, t.now())
	case "table":
		text := pingLine(&last[0])
		if t.width > 0 {
			text = shorten(text, t.width)
		}
		_, err = fmt.Fprintln(t.stdout, t.paint(pingColour(&last[0]), text))
	case "wide":
		_, err = fmt.Fprintln(t.stdout, pingLine(&last[0]))
	}
	return err
}

func pingColour(p *web.Pinged) string {
	switch {
	case p.Kind != "answered":
		return red
	case p.Status != 200:
		return yellow
	}
	return ""
}

// through has a running sipvigil send them.
func (p *pinging) through(ctx context.Context, all func(context.Context, func(context.Context) (web.Pinged, error)) error) error {
	c, err := newClient(p.server)
	if err != nil {
		return err
	}
	c.token = p.token
	defer c.close()
	body, err := json.Marshal(web.Ping{Target: p.target, Timeout: int(p.timeout.Milliseconds())})
	if err != nil {
		return err
	}
	return all(ctx, func(ctx context.Context) (web.Pinged, error) {
		var answer web.Pings
		if err := c.send(ctx, probeTime, http.MethodPost, "/api/v1/ping", body, &answer); err != nil {
			var exit exitError
			if errors.As(err, &exit) {
				exit.code = exitUsage // 1 is for what the far end answers
				err = exit
			}
			return web.Pinged{}, err
		}
		if len(answer.Pings) != 1 {
			return web.Pinged{}, unreadable(errors.New("it is not about one ping"))
		}
		return answer.Pings[0], nil
	})
}

// sleep says whether all of the time has passed.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// pinged is nil when every OPTIONS was answered 200, else it is about the worst.
func pinged(all []web.Pinged) error {
	for _, p := range all {
		if p.Kind == "unsent" {
			return usage(fmt.Errorf("OPTIONS could not be sent: %s", clean(p.Reason)))
		}
	}
	for _, p := range all {
		if p.Kind != "answered" {
			return exitError{exitNoAnswer, fmt.Errorf("no answer from %s", clean(p.Peer))}
		}
	}
	for _, p := range all {
		if p.Status != 200 {
			return failed(fmt.Errorf("the answer is %d %s", p.Status, clean(p.Phrase)))
		}
	}
	return nil
}

func reportPings(all []web.Pinged) report {
	header, _ := web.Columns(web.Pinged{})
	r := report{whole: web.Pings{Pings: all}, rows: [][]string{header}, table: func(w io.Writer, on terminal, _ time.Time) error {
		return printPings(w, on, all)
	}}
	for i := range all {
		item, err := json.Marshal(all[i])
		if err != nil {
			panic(err) // plain records always encode
		}
		r.items = append(r.items, item)
		_, row := web.Columns(all[i])
		r.rows = append(r.rows, row)
	}
	return r
}

// pingLine is printed as soon as it is known.
func pingLine(p *web.Pinged) string {
	switch p.Kind {
	case "answered":
		return fmt.Sprintf("%d %s from %s %s in %s", p.Status, clean(p.Phrase), clean(p.Transport), clean(p.From), rtt(p.RTT))
	case "unsent":
		return "not sent: " + clean(p.Reason)
	default:
		return fmt.Sprintf("no answer from %s %s", clean(p.Transport), clean(p.Peer))
	}
}

// printPings is what follows the lines: how many were answered, and what the
// last 2xx says.
func printPings(w io.Writer, on terminal, all []web.Pinged) error {
	var b strings.Builder
	if len(all) > 1 {
		b.WriteString("\n" + wrap(summary(all), on.width, 0) + "\n")
	}
	for _, p := range slices.Backward(all) {
		if p.Kind == "answered" {
			b.WriteByte('\n')
			for _, f := range pingFields(&p) {
				if f[1] != "" {
					fmt.Fprintf(&b, "%-9s  %s\n", f[0], wrap(clean(f[1]), on.width, 11))
				}
			}
			if p.Status < 300 {
				b.WriteByte('\n')
				b.WriteString(matrix(&p.Can, on.width))
			}
			break
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func pingFields(p *web.Pinged) [][2]string {
	return [][2]string{
		{"Server", p.Server}, {"Contact", p.Contact}, {"Saw us at", p.Seen},
		{"Allow", strings.Join(p.Allow, " ")}, {"Supported", strings.Join(p.Supported, " ")},
		{"Accept", strings.Join(p.Accept, " ")}, {"Encodings", strings.Join(p.Encodings, " ")},
		{"Languages", strings.Join(p.Languages, " ")}, {"Codecs", strings.Join(p.Codecs, ", ")},
	}
}

// matrix is what the far end can do, at a glance: a row of names and a row of
// values, or several where they do not fit.
func matrix(c *web.Can, width int) string {
	const cell = 11
	names, values := web.Columns(*c)
	size := len(names)
	if width > 0 {
		size = max(1, min(size, (width+1)/cell)) // no value is as wide as its cell
	}
	var b strings.Builder
	for first := 0; first < len(names); first += size {
		for _, row := range [][]string{names, values} {
			var line strings.Builder
			for _, text := range row[first:min(first+size, len(row))] {
				fmt.Fprintf(&line, "%-*s", cell, text)
			}
			b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
	}
	return b.String()
}

func summary(all []web.Pinged) string {
	least, most, sum, n := 0.0, 0.0, 0.0, 0
	for _, p := range all {
		if p.Kind != "answered" {
			continue
		}
		if n == 0 || p.RTT < least {
			least = p.RTT
		}
		most, sum = max(most, p.RTT), sum+p.RTT
		n++
	}
	text := strconv.Itoa(len(all)) + " sent, " + strconv.Itoa(n) + " answered"
	if n > 0 {
		text += fmt.Sprintf(", RTT %s least, %s on average, %s most", rtt(least), rtt(sum/float64(n)), rtt(most))
	}
	return text
}
