// The operator's page. Everything in a call was said by a stranger: it is set as
// text, nowhere as markup.

import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Batch } from './batch.jsx';
import { Call } from './call.jsx';
import { RecordPage } from './cdrs.jsx';
import { Filters } from './filters.jsx';
import { Brake, Head } from './head.jsx';
import { overview, run } from './live.js';
import { NodePage } from './nodes.jsx';
import { Progress } from './progress.jsx';
import { Table } from './table.jsx';
import { TrunkBars, TrunkPage } from './trunks.jsx';
import { opened, view } from './url.js';

const pages = { trunks: TrunkPage, nodes: NodePage, cdrs: RecordPage };

function Calls() {
  const [ending, setEnding] = useState(false);
  return (
    <div class={opened.value ? 'calls with-call' : 'calls'}>
      <div class="list">
        <TrunkBars />
        <Filters hangup={() => setEnding(true)} />
        <Table />
      </div>
      {opened.value && <Call id={opened.value} />}
      {ending && <Batch close={() => setEnding(false)} />}
    </div>
  );
}

function Page() {
  const Other = pages[view.value];
  const o = overview.value;
  const bad = o ? [o, ...o.others].reduce((n, x) => n + x.suspect + x.held, 0) : 0;
  useEffect(() => { document.title = bad ? `(${bad}) sipvigil` : 'sipvigil'; }, [bad]);
  return (
    <>
      <Head />
      <Progress />
      <Brake />
      <main>{Other ? <Other /> : <Calls />}</main>
    </>
  );
}

render(<Page />, document.getElementById('page'));
run();
