package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long anything may take on a busy machine.
const patience = 60 * time.Second

// artifacts is where screenshots are kept; git ignores it.
const artifacts = "../artifacts/page"

// browse starts Chromium with a profile of its own, which asks nobody but the
// server under test.
func browse() (context.Context, context.CancelFunc, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("enable-precise-memory-info", true),
		chromedp.Flag("js-flags", "--expose-gc"),
		chromedp.WSURLReadTimeout(patience),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stop := func() { cancel(); free() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("start chromium: %w", err)
	}
	return ctx, stop, nil
}

// tab is one page in the browser. What it logs as an error, what it asks other
// servers, and what its policy refuses fails the test.
type tab struct {
	t          testing.TB
	ctx        context.Context
	background sync.WaitGroup // until it is closed
}

// open shows a page of a server under test. Features are those of media queries,
// such as "prefers-color-scheme:dark".
func open(t testing.TB, server, path string, width, height int64, features ...string) *tab {
	t.Helper()
	b := blank(t, server, features...)
	b.do(chromedp.EmulateViewport(width, height), chromedp.Navigate("http://"+server+path))
	b.js(`document.sameDocument = true`) // gone after a reload
	return b
}

// blank is a tab that shows nothing yet, in a window that shares nothing with the
// others.
func blank(t testing.TB, server string, features ...string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	b.background.Go(b.watch)
	t.Cleanup(func() { cancel(); b.background.Wait() })
	if err := chromedp.Listen(ctx, func(e any) {
		if e, ok := e.(*network.EventRequestWillBeSent); ok && !strings.HasPrefix(e.Request.URL, "http://"+server+"/") {
			t.Errorf("the page asks %s", e.Request.URL)
		}
	}); err != nil {
		t.Fatal(err)
	}
	media := []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	for _, f := range features {
		name, value, _ := strings.Cut(f, ":")
		media = append(media, &emulation.MediaFeature{Name: name, Value: value})
	}
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: media})
	}
	if err == nil { // as if it had the keyboard: there is more than one tab
		_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watch reads the console until the tab is closed.
func (b *tab) watch() {
	for m, err := range chromedp.Console(b.ctx) {
		if err != nil {
			return
		}
		if m.Source == "network" {
			continue // an answer that is an error: the page says so itself
		}
		if m.IsException() || m.Type == "error" || m.Type == "warning" {
			b.t.Errorf("the page says: %s: %s %s:%d", m.Type, m.Text, m.URL, m.Line)
		}
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.fail(err)
	}
}

// fail ends the test, with a picture of what went wrong.
func (b *tab) fail(err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		_ = os.WriteFile(filepath.Join(artifacts, strings.ReplaceAll(b.t.Name(), "/", "-")+"-failed.png"), picture, 0o644)
	}
	b.t.Fatal(err)
}

// js runs a script and returns its value as JSON, waiting for what it promises.
func (b *tab) js(script string) string {
	b.t.Helper()
	return b.run(script, patience)
}

func (b *tab) run(script string, limit time.Duration) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.fail(fmt.Errorf("%.200s: %w", script, err))
	}
	return string(value)
}

// await waits until an expression is true.
func (b *tab) await(expression string) {
	b.t.Helper()
	b.within(patience, expression)
}

func (b *tab) within(limit time.Duration, expression string) {
	b.t.Helper()
	b.run(`new Promise((done) => { const look = () => ((`+expression+`) ? done(1) : setTimeout(look, 15)); look(); })`, limit)
}

// text awaits an element whose text holds these words.
func (b *tab) text(selector, words string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`[...document.querySelectorAll(%s)].some((e) => e.innerText.replace(/\s+/g, ' ').includes(%s))`, quote(selector), quote(words)))
}

// gone awaits that no element is like that.
func (b *tab) gone(selector string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`!document.querySelector(%s)`, quote(selector)))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`document.querySelector(%s)`, quote(selector)))
	b.do(chromedp.Click(selector))
}

// choose takes a value of a select as its user does.
func (b *tab) choose(name, value string) {
	b.t.Helper()
	b.js(fmt.Sprintf(`{ const s = document.querySelector('select[name=' + %s + ']'); s.value = %s; s.dispatchEvent(new Event('change', {bubbles: true})); }`,
		quote(name), quote(value)))
}

func (b *tab) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// shot keeps a picture of what can be seen.
func (b *tab) shot(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(artifacts, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// accessible has axe look at the page as it is now.
func (b *tab) accessible(what string) {
	b.t.Helper()
	if b.js(`typeof axe`) == `"undefined"` {
		b.js(axe + `; 0`)
	}
	var found []struct {
		ID, Help string
		Nodes    []struct {
			HTML           string `json:"html"`
			FailureSummary string `json:"failureSummary"`
		}
	}
	if err := json.Unmarshal([]byte(b.js(`axe.run().then((r) => r.violations)`)), &found); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range found {
		b.t.Errorf("%s: %s: %s", what, v.ID, v.Help)
		for _, n := range v.Nodes {
			b.t.Logf("  %.300s\n  %s", n.HTML, n.FailureSummary)
		}
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

const (
	enter = kb.Enter
	down  = kb.ArrowDown
	up    = kb.ArrowUp
	end   = kb.End
	home  = kb.Home
	tabs  = kb.Tab
	esc   = kb.Escape
)

// focus moves the keyboard to an element.
func focus(selector string) chromedp.Action[chromedp.Void] { return chromedp.Focus(selector) }
