const ws = new WebSocket("ws://api.example.com/ws/market");

ws.onopen = () => {
  ws.send(
    JSON.stringify({
      action: "subscribe",
      channel: "market",
      symbols: ["BTC-USDT"],
    })
  );
};

ws.onmessage = (event) => {
  const data = JSON.parse(event.data);
  console.log(`${data.symbol}: ${data.price}`);
};
