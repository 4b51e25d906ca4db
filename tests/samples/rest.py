import requests

# Market data retrieval
def get_market_price(symbol):
    url = f"https://api.example.com/v1/market/price/{symbol}"
    headers = {
        "Authorization": f"Bearer {token}",
        "X-API-Key": "your-api-key"
    }
    response = requests.get(url, headers=headers)
    return response.json()

# Position creation
def create_position(symbol, size):
    url = "https://api.example.com/v1/portfolio/positions"
    data = {
        "symbol": symbol,
        "size": size,
        "type": "long"
    }
    response = requests.post(url, json=data, headers=headers)
    return response.json()
