"""What the demo model says: fixed questions and answers, and the fallback. Source: written for this model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Intent:
    """Several ways to ask for one fixed answer."""

    questions: tuple[str, ...]
    answer: str
    thought: str


FALLBACK = (
    "I am only the small demo model and do not know that. Give --model a directory of Gemma 4 12B for real answers."
)
FALLBACK_THOUGHT = "This is none of the few things I know."


def _intent(questions: str, answer: str, thought: str) -> Intent:
    return Intent(tuple(questions.split("|")), answer, thought)


INTENTS = (
    _intent(
        "hello|hi|hey|hello there|hi there|good morning|good evening|good afternoon|greetings|hello!",
        "Hello! I am the small demo model of gemma-mlx. How can I help?",
        "The user greets me.",
    ),
    _intent(
        "who are you?|what are you?|what is your name?|tell me about yourself|introduce yourself|which model are you?",
        "I am the small built-in demo model of gemma-mlx. I only know a few fixed answers.",
        "The user wants to know who I am.",
    ),
    _intent(
        "how are you?|how do you do?|how are you today?|are you well?",
        "I am fine, thank you. How are you?",
        "The user asks how I am.",
    ),
    _intent(
        "what can you do?|help|help me|what do you know?|what can I ask you?|how can you help me?",
        "I can answer a few questions, name the colour in a simple picture, and tell kinds of sound.",
        "The user asks what I can do.",
    ),
    _intent(
        "what is gemma-mlx?|what does gemma-mlx do?|tell me about gemma-mlx|what is this program?|explain gemma-mlx",
        "gemma-mlx runs Gemma 4 12B on your own machine with MLX. It reads text, pictures, sound and video.",
        "The user asks about gemma-mlx.",
    ),
    _intent(
        "what is Gemma 4 12B?|what is Gemma?|tell me about Gemma 4|what is Gemma 4?|tell me about the 12B",
        "Gemma 4 12B is an open model by Google. It reads text, pictures and sound without separate encoders.",
        "The user asks about Gemma.",
    ),
    _intent(
        "how do I get the 12B?|how do I use the 12B?|how do I use the real model?|where is the real model?"
        "|how do I run Gemma 4 12B?|how do I load the large model?|can I use the large model?",
        "Give --model a directory that holds Gemma 4 12B.",
        "The user wants the large model.",
    ),
    _intent(
        "what is MLX?|tell me about MLX|explain MLX|what does MLX do?",
        "MLX is an array framework by Apple for machine learning on Apple silicon.",
        "The user asks about MLX.",
    ),
    _intent(
        "how much memory do I need?|how much memory does the 12B need?|does it fit in 16 GB?"
        "|how much RAM does it take?",
        "In 4 bits the 12B takes about 7 GB. It is meant for a Mac with 16 GB.",
        "The user asks about memory.",
    ),
    _intent(
        "does my data leave my machine?|is it private?|is my data safe?|do you send my data anywhere?"
        "|who can read this?",
        "No data leaves your machine. Everything runs locally.",
        "The user cares about privacy.",
    ),
    _intent(
        "does it work offline?|do I need the internet?|can you work without internet?|do I need a network?",
        "No internet is needed once the model is on your disk.",
        "The user asks about the network.",
    ),
    _intent(
        "does it run on Linux?|can I use Linux?|which systems are supported?|do I need a Mac?",
        "It is made for Macs with Apple silicon, and it also runs on Linux.",
        "The user asks about systems.",
    ),
    _intent(
        "can you see pictures?|can you read images?|can I show you a picture?|do you understand images?",
        "Yes. Attach a picture and ask me what I see.",
        "The user asks about pictures.",
    ),
    _intent(
        "can you hear?|can you listen?|can I send you a recording?|do you understand audio?|can you hear sound?",
        "Yes. Attach a recording and ask me what I hear.",
        "The user asks about sound.",
    ),
    _intent(
        "can you watch a video?|can you see videos?|do you understand video?|how do you read video?",
        "Yes. I read a video as a row of pictures.",
        "The user asks about video.",
    ),
    _intent(
        "what do you see?|what is in the picture?|describe the image|what is this picture?",
        "I see no picture. Please attach one.",
        "There is no picture.",
    ),
    _intent(
        "what do you hear?|what is in the recording?|listen to this|what sound is this?",
        "I hear nothing. Please attach a recording.",
        "There is no recording.",
    ),
    _intent(
        "what is a drafter?|what does the drafter do?|what is speculative decoding?|how does the drafter work?",
        "A drafter is a small model that guesses the next tokens. "
        "The large model checks them, so the answer stays the same.",
        "The user asks about the drafter.",
    ),
    _intent(
        "what is thinking?|can you think?|what does --think do?|how do I turn on thinking?",
        "With --think the model writes down a thought before it answers.",
        "The user asks about thinking.",
    ),
    _intent(
        "how big are you?|how many parameters do you have?|how large are you?|what is your size?",
        "I have about one million parameters. The real model has twelve billion.",
        "The user asks about my size.",
    ),
    _intent(
        "are you smart?|can I trust you?|are your answers correct?|are you intelligent?|do you make mistakes?",
        "I am only a demo that shows that everything works. Use the 12B for real answers.",
        "The user asks if I am reliable.",
    ),
    _intent(
        "thanks|thank you|thank you very much|thanks a lot|great, thanks", "You are welcome!", "The user is polite."
    ),
    _intent("bye|goodbye|see you|good night|bye bye|see you later", "Goodbye!", "The user leaves."),
    _intent(
        "who made you?|who trained you?|where do you come from?|how were you trained?",
        "The gemma-mlx project trained me for a few minutes on a few fixed sentences.",
        "The user asks where I come from.",
    ),
    _intent(
        "what is the licence of Gemma?|is Gemma free?|which license does Gemma 4 have?|is Gemma open?",
        "Gemma 4 12B is published under the Apache 2.0 licence.",
        "The user asks about the licence.",
    ),
    _intent(
        "how long can a prompt be?|how long is the context?|how many tokens can Gemma read?"
        "|what is the context length?",
        "Gemma 4 12B reads up to 262144 tokens.",
        "The user asks about the context.",
    ),
    _intent(
        "what is a sliding window?|how does the sliding window work?|what do the sliding layers do?",
        "Most layers look only at the latest tokens. Every sixth layer looks at all of them.",
        "The user asks about attention.",
    ),
    _intent(
        "how do I get the same answer twice?|what does --temperature do?|what is temperature?|what is greedy decoding?",
        "Use --temperature 0. Then the same question always gets the same answer.",
        "The user asks about sampling.",
    ),
    _intent(
        "what is quantization?|why quantize a model?|what are 4 bits?|what does quantization do?",
        "Quantization stores weights in fewer bits. The model then needs less memory.",
        "The user asks about quantization.",
    ),
    _intent(
        "which languages do you speak?|do you speak German?|can you speak French?|do you speak English?",
        "I only speak English. The 12B speaks many languages.",
        "The user asks about languages.",
    ),
    _intent(
        "what is a token?|what are tokens?|explain tokens|how long is a token?",
        "A token is a piece of text. I read and write text token by token.",
        "The user asks about tokens.",
    ),
    _intent("are you ready?|is this working?|test|testing|are you there?|ping", "I am ready.", "This is a test."),
    _intent(
        "tell me a joke|do you know a joke?|make me laugh|another joke please",
        "Why did the model cross the road? It was the most likely next token.",
        "The user wants a joke.",
    ),
    _intent(
        "write a poem|tell me a poem|write a haiku|can you write a poem?",
        "A model small, a model bright, it runs on your machine tonight.",
        "The user wants a poem.",
    ),
    _intent(
        "are you human?|are you alive?|are you a robot?|are you a person?|do you have feelings?",
        "No. I am a small computer program.",
        "The user asks if I am human.",
    ),
    _intent(
        "what is the capital of France?|which city is the capital of France?|capital of France?",
        "The capital of France is Paris.",
        "This is one of the few facts I know.",
    ),
    _intent("what is two plus two?|what is 2+2?|2 + 2|how much is 2 + 2?", "Two plus two is four.", "This is a sum."),
    _intent(
        "can I use you from Python?|is there a Python interface?|how do I use this in Python?"
        "|do you have a Python API?",
        "Yes. Start with import gemma_mlx.",
        "The user writes Python.",
    ),
    _intent("what is my name?|do you know my name?|who am I?", "You have not told me your name.", "I look for a name."),
)
