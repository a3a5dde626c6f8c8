package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"sipvigil/supervisor/web"
)

func (t *tool) top() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch calls in the terminal as they live and die",
		Long: `Watch calls in the terminal as they live and die.

Keys: arrows, PgUp, PgDn, Home, End move; F7 or / filters by number, trunk,
node, status or id; Enter opens a call; Space marks calls; p asks both legs of a
call; h hangs up the marked calls, or this one; F5 unmarks all; q or F10 leaves.`,
		Args: arguments(0, 0),
	}
	t.serverFlags(cmd)
	_ = cmd.PersistentFlags().MarkHidden("output") // there is but one form
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if t.width == 0 {
			return usage(errors.New("top needs a terminal; sipvigil calls --watch does not"))
		}
		c, err := t.client(cmd)
		if err != nil {
			return err
		}
		defer c.close()
		return runTop(cmd.Context(), c, t.terminal)
	}
	return cmd
}

// runTop shows the screen until the operator leaves.
func runTop(ctx context.Context, c *client, on terminal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	screen := newScreen(ctx, c)
	screen.colour = on.colour
	p := tea.NewProgram(screen, tea.WithContext(ctx))
	followed := make(chan error, 1)
	go func() {
		err := c.follow(ctx, func(e streamed) error { p.Send(e); return nil }, func(err error) { p.Send(stream{err}) })
		if err != nil {
			p.Quit()
		}
		followed <- err
	}()
	_, err := p.Run()
	stop()
	if lost := <-followed; lost != nil {
		return lost
	}
	if errors.Is(err, tea.ErrProgramKilled) {
		return nil // asked to end
	}
	return err
}

// screen is what top shows, as a model of bubbletea.
type screen struct {
	ctx    context.Context // of the program, for requests
	client *client

	calls    map[string]*web.Call
	reading  int                  // lists of calls that are on their way
	since    map[string]*web.Call // what is known of calls from events since the first of these began; nil: it has ended
	away     bool                 // the server does not answer
	order    []*web.Call          // those that the filter lets pass, the oldest first
	overview web.Overview
	doing    map[string]web.Progress // what takes a while, by its id
	marked   map[string]bool
	cursor   int
	id       string // of the call under the cursor, which it stays on
	first    int    // line of order at the top of the screen

	filter  string
	typing  bool
	open    string      // id of the call that is shown, "" for the list
	events  []web.Event // of that call
	confirm []string    // calls that are hung up if the operator says y
	notice  string
	width   int
	height  int
	colour  bool // may be used; bold and reverse always may
	now     func() time.Time
}

// Messages to the screen, beside the events of the server.
type (
	history struct {
		id     string
		events []web.Event
	}
	notice struct{ text string }
)

func newScreen(ctx context.Context, c *client) *screen {
	return &screen{ctx: ctx, client: c, calls: make(map[string]*web.Call), marked: make(map[string]bool), doing: make(map[string]web.Progress), width: 80, height: 24, now: time.Now}
}

// Init implements tea.Model. What there is comes with the stream of events.
func (s *screen) Init() tea.Cmd { return nil }

// look reads what happened to a call.
func (s *screen) look(id string) tea.Cmd {
	return func() tea.Msg {
		events, err := s.client.events(s.ctx, id)
		if err != nil {
			return notice{err.Error()}
		}
		return history{id, events}
	}
}

func (s *screen) probe(id string) tea.Cmd {
	return func() tea.Msg {
		body, err := s.client.probe(s.ctx, id)
		var p web.Probed
		if err == nil {
			err = json.Unmarshal(body, &p)
		}
		if err != nil {
			return notice{err.Error()}
		}
		one := func(a web.Answer) string {
			if a.Status > 0 {
				return fmt.Sprintf("%d after %s", a.Status, rtt(a.RTT))
			}
			return strings.TrimSpace(a.Kind + " " + a.Reason)
		}
		return notice{fmt.Sprintf("caller %s, callee %s", one(p.Caller), one(p.Callee))}
	}
}

func (s *screen) hangup(ids []string) tea.Cmd {
	return func() tea.Msg {
		for i, id := range ids {
			if _, err := s.client.hangup(s.ctx, id, ""); err != nil {
				return notice{fmt.Sprintf("%d of %d calls are being ended, then: %v", i, len(ids), err)}
			}
		}
		return notice{fmt.Sprintf("calls that are being ended: %d", len(ids))}
	}
}

// Update implements tea.Model.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return s, s.key(msg.String())
	case stream:
		return s, s.opened(msg.err)
	case loaded:
		s.take(msg)
	case history:
		if msg.id == s.open {
			s.events = msg.events
		}
	case notice:
		s.tell(msg.text)
	case streamed:
		return s, s.heard(msg)
	}
	return s, nil
}

// tell has a text on the last line.
func (s *screen) tell(text string) { s.notice = clean(strings.ReplaceAll(text, "\n", "; ")) }

// arrange puts the calls in order and keeps the cursor on its call.
func (s *screen) arrange() {
	s.order = s.order[:0]
	for _, c := range s.calls {
		if s.passes(c) {
			s.order = append(s.order, c)
		}
	}
	slices.SortFunc(s.order, func(a, b *web.Call) int { return strings.Compare(a.ID, b.ID) }) // ids rise with time
	if i := slices.IndexFunc(s.order, func(c *web.Call) bool { return c.ID == s.id }); i >= 0 {
		s.cursor = i
	}
	s.move(0)
}

// passes says whether each word of the filter is somewhere in a call.
func (s *screen) passes(c *web.Call) bool {
	text := strings.ToLower(strings.Join([]string{c.ID, status(c), c.Node, c.TrunkIn, c.TrunkOut, c.Caller.URI, c.Callee.URI, c.Caller.CallID, c.Callee.CallID}, " "))
	for _, word := range strings.Fields(strings.ToLower(s.filter)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func (s *screen) move(by int) {
	s.cursor = max(0, min(s.cursor+by, len(s.order)-1))
	s.id = ""
	if len(s.order) > 0 {
		s.id = s.order[s.cursor].ID
	}
	s.first = max(0, min(s.first, len(s.order)-s.lines()))
	s.first = max(min(s.first, s.cursor), s.cursor-s.lines()+1)
}

// key does what a key asks for.
func (s *screen) key(key string) tea.Cmd {
	if key == "ctrl+c" {
		return tea.Quit
	}
	switch {
	case s.typing:
		s.edit(key)
		return nil
	case len(s.confirm) > 0:
		ids := s.confirm
		s.confirm = nil
		if key == "y" {
			return s.hangup(ids)
		}
		s.notice = "nothing was hung up"
		return nil
	}
	s.notice = ""
	switch key {
	case "q", "f10":
		if s.open == "" {
			return tea.Quit
		}
		s.open, s.events = "", nil
	case "esc", "backspace":
		s.open, s.events = "", nil
	case "f7", "/":
		s.typing = s.open == ""
	case "f5":
		clear(s.marked)
	case "h", "f9":
		s.confirm = s.chosen()
	case "p":
		if s.id != "" {
			s.notice = "asking both legs"
			return s.probe(s.id)
		}
	case "enter":
		if s.id != "" {
			s.open = s.id
			return s.look(s.id)
		}
	default:
		s.walk(key)
	}
	return nil
}

// walk moves through the list, or marks.
func (s *screen) walk(key string) {
	if s.open != "" {
		return
	}
	switch key {
	case "up", "k":
		s.move(-1)
	case "down", "j":
		s.move(1)
	case "pgup":
		s.move(-s.lines())
	case "pgdown":
		s.move(s.lines())
	case "home":
		s.move(-len(s.order))
	case "end":
		s.move(len(s.order))
	case "space":
		if s.id != "" {
			if s.marked[s.id] {
				delete(s.marked, s.id)
			} else {
				s.marked[s.id] = true
			}
			s.move(1)
		}
	}
}

// edit changes the filter.
func (s *screen) edit(key string) {
	switch key {
	case "enter", "f7":
		s.typing = false
	case "esc":
		s.typing, s.filter = false, ""
	case "backspace":
		if r := []rune(s.filter); len(r) > 0 {
			s.filter = string(r[:len(r)-1])
		}
	case "space":
		s.filter += " "
	default:
		if len([]rune(key)) == 1 {
			s.filter += key
		}
	}
	s.arrange()
}

// chosen are the marked calls, or the one that is open or under the cursor.
func (s *screen) chosen() []string {
	if s.open != "" {
		return []string{s.open}
	}
	var ids []string
	for id := range s.marked {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 && s.id != "" {
		ids = []string{s.id}
	}
	return ids
}
