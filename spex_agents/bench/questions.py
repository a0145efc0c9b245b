"""Sums for a small model: something to search for where only the time matters."""

QUESTIONS = (
    "Anna has 3 apples and buys 4 more. How many apples has she?",
    "What is 12 + 7 - 5?",
    "A box holds 6 eggs. How many eggs are in 4 boxes?",
    "Tom reads 9 pages a day. How many pages does he read in 3 days?",
    "What is (8 + 2) * 3?",
    "A train leaves at 2 o'clock and drives for 5 hours. When does it arrive?",
    "Lena had 20 coins and gave away 8. How many coins are left?",
    "What is 15 / 3 + 6?",
)
