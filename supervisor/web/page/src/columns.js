// The columns of the table, in order.

export const columns = [
  { name: 'state', label: 'State', sort: 'trouble' },
  { name: 'from', label: 'From', sort: 'from' },
  { name: 'to', label: 'To', sort: 'to' },
  { name: 'trunks', label: 'Trunks', sort: 'trunks' },
  { name: 'age', label: 'Age', sort: 'age' },
  { name: 'caller', label: 'Caller', sort: 'caller' },
  { name: 'callee', label: 'Callee', sort: 'callee' },
  { name: 'evidence', label: 'Last evidence', sort: 'evidence' },
  { name: 'node', label: 'Node', sort: 'node' },
];
